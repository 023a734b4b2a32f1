"""Rules look at what the listener and the network found: each ECG goes where its site sends it."""

from pathlib import Path

import pytest

from core.states import ReportKind
from tests.e2e.ecgs import waveform
from tests.node import running_node
from tests.worker.scripted_pacs import HEATMAP_CLASS, ScriptedPacs

SR, HEATMAP = ReportKind.SR.value, ReportKind.HEATMAP.value


def _there(pacs: ScriptedPacs, when: str, **more: str) -> dict[str, str]:
    return {"host": "127.0.0.1", "port": str(pacs.port), "ae_title": "PACS", "when": when, **more}


@pytest.mark.timeout(300)
def test_each_destination_gets_what_its_rules_say(tmp_path: Path) -> None:
    with (
        ScriptedPacs().running() as emergency,
        ScriptedPacs().running() as stress,
        ScriptedPacs().running() as likely,
        ScriptedPacs().running() as nobody,
    ):
        destinations = {
            "emergency": _there(emergency, '[{"calling_ae_titles": ["ER*"], "send": "sr"}]'),
            "stress": _there(stress, '[{"study_descriptions": ["*Stress*"], "modalities": ["ECG"]}]'),
            "likely": _there(likely, '[{"labels": ["normal", "abnormal_heartbeat", "myocardial_infarction"]}]'),
            "nobody": _there(nobody, '[{"modalities": ["XA"]}]'),
        }
        with running_node(tmp_path / "node", "send", "work", "listen", destinations=destinations) as node:
            first, second = waveform(StudyDescription="Rest"), waveform(StudyDescription="Stress test", Modality="ECG")
            node.push([first], calling="ER1")
            node.push([second], calling="CART")
            sent = {one.sop_instance_uid: node.wait_delivered(one.sop_instance_uid).reports for one in (first, second)}
    ours = [sorted(kind for kind, _uid, _state in sent[one.sop_instance_uid]) for one in (first, second)]
    # The first: SR to the emergency room, both to `likely`; the second: both to `stress`, both to `likely`
    assert ours == [[HEATMAP, SR, SR], [HEATMAP, HEATMAP, SR, SR]]
    assert len(emergency.held) == 1
    assert len(stress.held) == 2
    assert len(likely.held) == 4
    assert nobody.associations == 0
    (only,) = emergency.held.values()
    assert HEATMAP_CLASS.encode() not in only[0][:200]
