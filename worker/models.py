"""The models of a worker: the one in service and the one in shadow, exchanged between two batches."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from core.errors import BadModel, Unavailable
from core.settings import Settings
from core.states import EventKind, ModelRole
from model.classifier import Classifier
from model.gpu import find_way
from model.store import StoredModel, find_exact, read_model, start_folder
from records.database import Database
from records.models import ModelChoice, find_chosen
from records.trail import record_event
from worker.decoder import Decoder
from worker.pipeline import Tools

_log = structlog.get_logger(__name__)


def choice_of(stored: StoredModel) -> ModelChoice:
    """A model of a folder as the records know it."""
    card = stored.card
    return ModelChoice(
        card.weights_sha256, stored.card_sha256, card.version, card.calibration_version, dict(card.thresholds)
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory; `card_sha256` says which calibration of it."""

    classifier: Classifier
    card_sha256: str

    def is_(self, choice: ModelChoice) -> bool:
        identity = self.classifier.identity
        return (identity.weights_sha256, self.card_sha256) == (choice.weights_sha256, choice.card_sha256)


class WorkingModels:
    """Asks the database before each batch which models hold, and loads what changed."""

    def __init__(self, settings: Settings, database: Database, decoder: Decoder) -> None:
        self._settings = settings
        self._database = database
        self._decoder = decoder
        self._service: Loaded | None = None
        self._shadow: Loaded | None = None
        self._broken_shadow: str = ""
        self._aside = ThreadPoolExecutor(1, "aside")

    def tools(self) -> Tools:
        """What a batch is judged with: the models that hold now.

        Raises Unavailable when the released model cannot be loaded here: judging with another one would be wrong, and
        the ECGs wait, for another worker or until the model is there. Raises DatabaseAway.
        """
        chosen = find_chosen(self._database)
        self._serve(chosen.service)
        self._follow(chosen.shadow)
        assert self._service is not None
        # A model that was released out of the shadow has nothing to be compared with
        shadow = self._shadow if self._shadow is not self._service else None
        return Tools(
            self._settings,
            self._database,
            self._decoder,
            self._service.classifier,
            shadow.classifier if shadow else None,
            shadow.card_sha256 if shadow else "",
            self._aside,
        )

    def _serve(self, choice: ModelChoice | None) -> None:
        if self._service is not None and (choice is None or self._service.is_(choice)):
            return
        if choice is not None and self._shadow is not None and self._shadow.is_(choice):
            self._service = self._shadow
            return
        try:
            self._service = self._load(choice, ModelRole.SERVICE)
        except BadModel as error:
            _log.error("model_not_loaded", why=str(error), what_now="no ECG is judged here until it is")
            raise Unavailable(f"the model in service cannot be loaded: {error}") from error

    def _follow(self, choice: ModelChoice | None) -> None:
        """Load the model in shadow; one that cannot be loaded is named once, and judging goes on without it."""
        if choice is None:
            self._shadow, self._broken_shadow = None, ""
            return
        if (self._shadow is not None and self._shadow.is_(choice)) or self._broken_shadow == choice.card_sha256:
            return
        if self._service is not None and self._service.is_(choice):
            self._shadow = self._service
            return
        self._shadow = None
        try:
            self._shadow = self._load(choice, ModelRole.SHADOW)
        except Exception as error:  # noqa: BLE001 - whatever a model in shadow raises must not hurt the one in service
            self._broken_shadow = choice.card_sha256
            _log.error("shadow_not_loaded", error=type(error).__name__, why=str(error))

    def _load(self, choice: ModelChoice | None, role: ModelRole) -> Loaded:
        if choice is None:
            stored = read_model(start_folder(self._settings))
        else:
            stored = find_exact(self._settings, choice.weights_sha256, choice.card_sha256)
        settings, way = self._settings, find_way()
        classifier = Classifier.load(
            stored.folder,
            threads=settings.worker_threads,
            precision=way.precision,
            batch_size=settings.batch_size,
            together=way.together,
        )
        record_event(
            self._database,
            EventKind.MODEL_LOADED,
            actor="worker",
            role=role.value,
            weights_sha256=classifier.identity.weights_sha256,
            card_sha256=stored.card_sha256,
            version=classifier.identity.version,
        )
        return Loaded(classifier, stored.card_sha256)
