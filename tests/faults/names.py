"""Names that the fork server and the tests share, so that neither loads the other."""

CLOCK_SHIFT = "TEST_CLOCK_SHIFT_S"  # how far a child's clock is off
