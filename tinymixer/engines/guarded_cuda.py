"""The cuda engine as training gets it: the fastest way of computing a step that works and is right on this machine.

    captured      the fused step, recorded in a CUDA graph
    uncaptured    the fused step, launched kernel by kernel
    layers        the model's own layers on CuPy, with generic operations, in float32

Each fused way proves itself the first time that a model, a precision and a machine meet (`self_proof.py`), and the
outcome is kept (`outcomes.py`). Where a way gives wrong numbers or fails, the next one is taken, `note` says so in a
sentence, and a report is left to attach to an issue. The same holds for the first steps of a run, which go back to
where they began: the GPU may have less memory then than in the proof.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymixer.data import cache_folder
from tinymixer.data.views import AS_IT_IS, View
from tinymixer.engines.cuda.capability import precision_here
from tinymixer.engines.cuda.cuda_engine import CudaEngine
from tinymixer.engines.cuda.failures import (
    REPORT_TO,
    WayFailedError,
    abandon,
    belongs_to_the_libraries,
    give_back_memory,
    gpu_is_usable,
    is_lasting,
    is_users,
    report_text,
    said_by,
)
from tinymixer.engines.cuda.outcomes import FAILED, PASSED, Outcomes, kind_of_step
from tinymixer.engines.engine import Engine, EngineOptions, Step, Totals, Work
from tinymixer.engines.reference import ReferenceEngine
from tinymixer.errors import BackendError, TrainingError
from tinymixer.models import MlpMixer, Model
from tinymixer.optim import Optimizer

if TYPE_CHECKING:
    from tinymixer.engines.cuda.self_proof import Proof

CAPTURED, UNCAPTURED, LAYERS = "captured", "uncaptured", "layers"
HOW = {
    CAPTURED: "steps are captured in a CUDA graph",
    UNCAPTURED: "steps are launched kernel by kernel",
    LAYERS: "steps go through the layers on CuPy, in float32",
}
FOLDER = "gpu-proofs"  # in the cache folder
FEWEST_CHANNELS = 8


@dataclasses.dataclass(frozen=True)
class _Saved:
    """Host copies of the weights, of the states of the optimizer and the engine, and of the averaged weights."""

    weights: np.ndarray
    optimizer: dict[str, np.ndarray]
    engine: dict[str, np.ndarray]
    average: dict[str, np.ndarray] | None


class GuardedCudaEngine(Engine):
    """Trains a stock MlpMixer on a GPU, by the first of the ways that works.

    `proof` is the last that was made, None where none was needed.

    Raises BatchTooLargeError, naming a batch size that fits, when the GPU's memory is too small, and BackendError where
    the GPU cannot be used at all (any more).
    """

    name = "cuda"

    def __init__(self, model: MlpMixer, options: EngineOptions, work: Work, optimizer: Optimizer) -> None:
        self.model = self._mixer = model
        self._work, self._optimizer, self._check = work, optimizer, options.check_kernels
        self.parallel_map = map
        try:
            self.precision, self._why_precision = precision_here(options.precision, model.backend.xp)
            self._options = dataclasses.replace(options, precision=self.precision)
            kind = kind_of_step(model.backend.xp, model, optimizer, work, self._options)
        except RuntimeError as error:  # CuPy's errors of the driver
            raise BackendError(
                f"the GPU does not answer ({said_by(error)}): check it with nvidia-smi, or train on the processor with "
                "--backend numpy"
            ) from error
        self._outcomes = Outcomes(cache_folder() / FOLDER, kind)
        self._inner: Any = None  # the engine that computes
        self._proved: set[str] = set()  # ways that proved right in this process
        self._ways = [way for way in HOW if way != CAPTURED or options.captured]
        self._reasons: list[str] = []
        self._reports: list[Path | None] = []
        self.proof: Proof | None = None
        self._precision_is_other = self.precision != options.precision != "auto"
        self.note = self._why_precision if self._precision_is_other else None
        self._steps_were_taken = False
        self._take_next_way()

    @classmethod
    def make(
        cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None
    ) -> "GuardedCudaEngine":
        assert work is not None
        assert optimizer is not None
        assert isinstance(model, MlpMixer)
        return cls(model, options, work, optimizer)

    @classmethod
    def obstacle(
        cls, model: Model, options: EngineOptions, work: Work | None, optimizer: Optimizer | None
    ) -> str | None:
        obstacle = CudaEngine.obstacle(model, options, work, optimizer)
        if obstacle is None and model.config.hidden_dim < FEWEST_CHANNELS and options.check_kernels != "never":
            return (
                f"LayerNorm over fewer than {FEWEST_CHANNELS} channels is so sensitive to rounding that the fused step "
                "could not be checked"
            )
        return obstacle

    # ------------------------------------------------------------------------------------------------------- the ways

    @property
    def way(self) -> str:
        """ "captured", "uncaptured" or "layers": how steps are computed now."""
        return self._ways[0]

    def _take_next_way(self) -> None:
        """Take the first of the ways left that proves right and can be built, on every rank."""
        while True:
            self._agree_on_way()
            try:
                engine, problem = self._built(self.way), None
            except Exception as error:
                if is_users(error):
                    raise
                engine, problem = None, error
            if all(self._work.ranks.gather(problem is None)):
                self._inner = engine
                break
            self._inner = engine
            self._give_up(problem or WayFailedError("another rank could not take it"))
        if self.way == LAYERS:
            self.precision = "float32"

    def _agree_on_way(self) -> None:
        """Go down to the first way that proves right here, and on to the one that does so on every rank."""
        order = list(HOW)
        while True:
            self._go_down_to_a_proved_way()
            ways = self._work.ranks.gather(self.way)
            last = max(ways, key=order.index)
            if all(way == last for way in ways):
                return
            while order.index(self.way) < order.index(last):
                self._give_up(WayFailedError("another rank could not take a faster way", known=True))

    def _go_down_to_a_proved_way(self) -> None:
        while True:
            try:
                self._require_proved(self.way)
            except Exception as error:  # of either library, or a defect of the fused step: the report has it all
                if is_users(error):
                    raise
                self._give_up(error)
            else:
                return

    def _require_proved(self, way: str) -> None:
        """Raise whatever speaks against a way: what is known of it, or what its proof shows."""
        if way == LAYERS:
            return
        known = self._outcomes.known(way) if self._check == "first" else None
        if known is not None and known[0] == FAILED:
            raise WayFailedError(f"{known[1]}, when this was checked before", known=True)
        if self._check != "never" and known is None and way not in self._proved:
            self._prove(way, self._options_for(way))
            self._proved.add(way)

    def _options_for(self, way: str) -> EngineOptions:
        return dataclasses.replace(self._options, captured=way == CAPTURED)

    def _built(self, way: str) -> Engine:
        """The engine for a way. Raises whatever makes that impossible."""
        if way == LAYERS:
            # the fused operations share their kernels with the step that has just failed
            use_generic = getattr(self.model.backend.ops, "use_generic_operations", None)
            if use_generic is not None:
                use_generic()
            if not gpu_is_usable(self.model.backend.xp):
                raise WayFailedError("CuPy cannot compute on this GPU")
            return ReferenceEngine(self.model).prepared(self._optimizer, self._work)
        engine = CudaEngine(self._mixer, self._options_for(way), self._work, self._optimizer)
        if way == CAPTURED and not engine.captured_step.captured:
            abandon(engine.captured_step)
            raise WayFailedError(engine.captured_step.note or "it cannot be captured here")
        return engine

    def _prove(self, way: str, options: EngineOptions) -> None:
        """Hold two steps of the way to the layers.

        Raises WayFailedError where they are wrong, and whatever the libraries raise where they fail.
        """
        from tinymixer.engines.cuda.self_proof import prove

        self._outcomes.begin(way)
        try:
            proof = prove(self._mixer, self._optimizer, self._work, options)
        except BaseException as error:
            if isinstance(error, Exception) and is_lasting(error):
                self._outcomes.settle(way, FAILED, reason=said_by(error))
            else:  # stopped by the user, or by what may be different at the next start
                self._outcomes.forget(way)
            raise
        self.proof, worst = proof, proof.worst
        ratio = min(worst.ratio, 1e9)  # JSON has no infinity
        details = {"worst": worst.name, "ratio": ratio, "images": proof.images, "seconds": proof.seconds}
        if not proof.passed:
            self._outcomes.settle(way, FAILED, reason=worst.sentence(), **details)
            raise WayFailedError(worst.sentence(), proof=proof)
        self._outcomes.settle(way, PASSED, **details)

    def _give_up(self, error: Exception) -> None:
        """Go down one way, and keep the reason. Raises BackendError where the GPU cannot be used any more."""
        failed, reason = self._ways.pop(0), said_by(error)
        self._reasons.append(reason)
        if not (isinstance(error, WayFailedError) and error.known):
            self._reports.append(self._outcomes.report(failed, report_text(failed, error, self._outcomes.kind)))
        error.__traceback__ = error.__context__ = error.__cause__ = None  # they hold the failed step's memory
        if self.captured_step is not None:
            abandon(self.captured_step)
        self._inner = None
        give_back_memory(self.model.backend.xp)
        if not self._ways:
            raise BackendError(
                f"the GPU cannot be used: {self._said_reasons()}. Check the driver with nvidia-smi, or train on the "
                "processor: --backend numpy"
            )
        if not gpu_is_usable(self.model.backend.xp):
            self._outcomes.settle(failed, FAILED, reason=reason)
            raise BackendError(
                f"the GPU stopped working for this program while {HOW[failed]}: {self._said_reasons()}. Nothing of the "
                f"run is lost: start the same command again, with --resume if the run had begun, and {HOW[self.way]}"
                f"{self._option_for(self.way)}"
            )
        down = f"{HOW[self.way]}, because {self._said_reasons()}; --check-kernels always tries again"
        self.note = f"{self._why_precision}; {down}" if self._precision_is_other else down

    def _said_reasons(self) -> str:
        """Why ways were left, each reason once, and where the reports are."""
        paths = ", ".join(str(path) for path in self._reports if path)
        reports = f" (to attach to an issue at {REPORT_TO}: {paths})" if paths else ""
        return "; ".join(dict.fromkeys(self._reasons)) + reports

    def _option_for(self, way: str) -> str:
        """The option that asks for a way where the cache folder keeps no outcomes."""
        return f" (or ask for that: {'--no-captured' if way == UNCAPTURED else '--kernels reference'})"

    # -------------------------------------------------------------------------------------------------------- engine

    @property
    def description(self) -> str:
        if self.way == LAYERS:
            return HOW[LAYERS].removeprefix("steps go ")
        checked = "" if self._check == "never" else ", held to the layers' gradients"
        why = f" ({self._why_precision})" if self._why_precision else ""
        return f"{self._inner.description}{checked}{why}"

    @property
    def arithmetic(self) -> dict[str, Any]:
        return {"engine": self.name if self.way != LAYERS else "reference", "precision": self.precision}

    @property
    def captured_step(self) -> Any:
        """The fused step (`CapturedStep`); None where steps go through the layers."""
        return getattr(self._inner, "captured_step", None)

    def logits(self, images: Any) -> Any:
        return self._inner.logits(images)

    def loss_and_gradients(self, *arguments: Any, **keywords: Any) -> tuple[Any, Any]:
        return self._inner.loss_and_gradients(*arguments, **keywords)

    def state_dict(self) -> dict[str, np.ndarray]:
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self._inner.load_state_dict(state)

    def refresh(self) -> None:
        self._inner.refresh()

    def steps(self, plan: Iterable[Step]) -> Iterator[tuple[int, Totals]]:
        results = self._with_errors_said(self._inner.steps(plan)) if self._steps_were_taken else self._first(plan)
        yield from results

    def _first(self, plan: Iterable[Step]) -> Iterator[tuple[int, Totals]]:
        """The first steps of a run. Where a way fails before any of them is done, the next one takes them over."""
        plan, taken, saved = iter(plan), [], self._saved()

        def kept() -> Iterator[Step]:
            for step in plan:
                taken.append(step)
                yield step

        while True:
            results = self._inner.steps(chain(tuple(taken), kept()))
            try:
                first = next(results, None)
            except Exception as error:
                if is_users(error) or self.way == LAYERS:
                    raise self._said(error) from error
                if self._work.ranks.size > 1:  # the others wait in the middle of this step and cannot change their way
                    self._outcomes.settle(self.way, FAILED, reason=said_by(error))
                    raise self._said(error) from error
                del results
                self._give_up(error)
                self._restore(saved)
                self._take_next_way()
                self.load_state_dict(saved.engine)
                continue
            break
        if first is not None:
            self._steps_were_taken = True
            del saved
            yield first
            yield from self._with_errors_said(results)

    def _saved(self) -> "_Saved":
        parameters, average = self.model.parameters, self._work.average
        return _Saved(
            np.array(parameters.backend.to_numpy(parameters.values)),
            self._optimizer.state_dict(),
            self.state_dict(),
            None if average is None else average.state_dict(),
        )

    def _restore(self, saved: "_Saved") -> None:
        parameters = self.model.parameters
        parameters.values[...] = parameters.backend.asarray(saved.weights)
        self._optimizer.load_state_dict(saved.optimizer)
        if self._work.average is not None and saved.average is not None:
            self._work.average.load_state_dict(saved.average)

    def pixel_logits(
        self,
        images: np.ndarray,
        mean: Any,
        std: Any,
        indices: np.ndarray | None = None,
        batch_size: int = 128,
        stopped: Callable[[], bool] = lambda: False,
        view: View = AS_IT_IS,
    ) -> np.ndarray | None:
        try:
            return self._inner.pixel_logits(images, mean, std, indices, batch_size, stopped, view)
        except Exception as error:
            raise self._said(error) from error

    def _with_errors_said(self, results: Iterator[tuple[int, Totals]]) -> Iterator[tuple[int, Totals]]:
        try:
            yield from results
        except Exception as error:
            raise self._said(error) from error

    def _said(self, error: Exception) -> Exception:
        """An error of the libraries in the middle of a run as a sentence; any other as it is."""
        if not belongs_to_the_libraries(error):
            return error
        other = "--no-captured" if self.way == CAPTURED else "--check-kernels always"
        return TrainingError(
            f"the GPU failed ({said_by(error)}): the last checkpoint stays, so start the same command again with "
            f"--resume; if it happens again, add {other}"
        )
