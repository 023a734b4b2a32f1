"""Names that processes share, so that none has to import another."""

CLASSIFY_TASK = "ecg_node.classify"
DELIVER_TASK = "ecg_node.deliver"

STAT_QUEUE = "stat"
ROUTINE_QUEUE = "routine"
DELIVERY_QUEUE = "delivery"
