"""An engine that several runs in one process share: started once, closed when it does not fit or a run has failed."""

import pytest

from plm.engines import keeping
from plm.engines.keeping import EngineKeeper
from tests.runs import EVALUATION, config, only_run, plm, sft, source, write
from tests.tiny import ScriptedEngine

CLOSED, USED = [], []


class CostlyEngine(ScriptedEngine):
    """Notes that it was used, and that it was closed."""

    worth_keeping = True

    def __init__(self, answers=("aw1",)):
        super().__init__(answers)

    def sync(self, model, version):
        super().sync(model, version)
        USED.append(id(self))

    def forget(self):
        self.version = None

    def close(self):
        super().close()
        CLOSED.append(id(self))


@pytest.fixture
def kept(monkeypatch):
    CLOSED.clear(), USED.clear()
    monkeypatch.setattr(keeping, "_keeper", EngineKeeper())
    yield keeping._keeper
    keeping._keeper.close()


def prepared(tmp_path, engine="tests.engines.test_keeping.CostlyEngine"):
    base = write(tmp_path / "base.yaml", config(sft(base=source()), callbacks=[], rounds=1))
    assert plm("fit", base) == 0
    data = {"engine": {"class_path": engine}}
    content = config(sft(base=str(only_run(base).model_path)), callbacks=[EVALUATION], rounds=1, data=data)
    return write(tmp_path / "tuned.yaml", content)


def test_runs_on_models_of_one_shape_share_an_engine(tmp_path, kept):
    path = prepared(tmp_path)
    assert [plm("fit", path, f"--seed_everything={seed}") for seed in (0, 1)] == [0, 0]
    assert len(USED) >= 2 and len(set(USED)) == 1 and not CLOSED
    assert kept._engine.version is None  # the next run has weights of the same names


def test_another_engine_closes_it(tmp_path, kept):
    path = prepared(tmp_path)
    assert plm("fit", path) == 0
    assert plm("fit", path, '--data.init_args.engine.init_args.answers=["b"]') == 0
    assert len(set(USED)) == 2 and [each for each in CLOSED if each in USED] == USED[:1]


def test_after_a_failed_run_nothing_is_kept(tmp_path, kept, monkeypatch):
    path = prepared(tmp_path)
    assert plm("fit", path) == 0
    monkeypatch.setattr(CostlyEngine, "generate", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plm("fit", path, "--seed_everything=1")
    assert set(USED) <= set(CLOSED)


def test_without_a_keeper_each_run_closes_its_own(tmp_path, monkeypatch):
    CLOSED.clear(), USED.clear()
    monkeypatch.setattr(keeping, "_keeper", None)
    path = prepared(tmp_path)
    assert [plm("fit", path, f"--seed_everything={seed}") for seed in (0, 1)] == [0, 0]
    assert len(set(USED)) == 2 and set(USED) <= set(CLOSED)


def test_an_engine_that_starts_at_once_is_not_kept():
    keeper, engine = EngineKeeper(), ScriptedEngine(["a"])
    keeper.give_back("key", engine)
    assert keeper.take("key", made := ScriptedEngine(["a"])) is made
