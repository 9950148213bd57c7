"""Which run comes next, and what becomes of those that fail, with an executor that follows a script."""

import json

from plm.studies.executor import Ended, Executor
from plm.studies.manifest import Row, StudyFolder, prune, read_manifest, run_finished
from plm.studies.scheduler import Scheduler, with_needs


class ScriptedExecutor(Executor):
    """Ends each job when it is waited for; runs named in `failing` fail so often."""

    def __init__(self, runs, slots=1, failing=None, silent=()):
        self.runs, self.slots, self.failing, self.silent = runs, slots, dict(failing or {}), silent
        self.jobs, self.order = {}, []

    def idle(self):
        return [slot for slot in range(self.slots) if slot not in self.jobs]

    def submit(self, slot, job):
        assert slot not in self.jobs
        self.jobs[slot] = job
        self.order.append((slot, job.run))

    def wait(self, seconds):
        ended = [self.end(slot, job) for slot, job in self.jobs.items()]
        self.jobs.clear()
        return ended

    def end(self, slot, job):
        if self.failing.get(job.run, 0) > 0:
            self.failing[job.run] -= 1
            return Ended(slot, job.run, 1, 0.5, "it broke")
        if job.run not in self.silent:
            finish(self.runs, job.run)
        return Ended(slot, job.run, 0, 0.5)

    def close(self):
        pass


def finish(runs, name):
    folder = runs / name
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "model.safetensors").touch()
    (folder / "manifest.json").write_text(json.dumps({"status": "finished"}))


def row(name, *needs, base=None, status="waiting"):
    return Row(f"{name}/0-seed0", ["fit"], "elicit", 0, needs=[f"{each}/0-seed0" for each in needs],
               base=base and f"{base}/0-seed0", status=status)  # fmt: skip


def run(tmp_path, rows, retries=1, **script):
    rows = {each.id: each for each in rows}
    executor, events = ScriptedExecutor(tmp_path, **script), []
    folder = StudyFolder(tmp_path / "studies" / "s")
    Scheduler(
        rows, executor, tmp_path, folder, retries, lambda kind, each: events.append((kind, each.name)), lambda: None
    ).run()
    return rows, [name.partition("/")[0] for _, name in executor.order], events, folder, executor


def test_needs_come_first_and_once(tmp_path):
    rows = [row("a", "lock", base="lock"), row("b", "lock", base="lock"), row("lock", "base"), row("base")]
    rows, order, _, _, _ = run(tmp_path, rows, slots=2)
    assert order == ["base", "lock", "a", "b"]
    assert all(each.status == "finished" and each.attempts == 1 for each in rows.values())


def test_runs_on_one_model_share_a_slot(tmp_path):
    rows = [row(f"{lock}{n}", base=lock) for n in range(3) for lock in ("x", "y")]
    *_, executor = run(tmp_path, rows, slots=2)
    slots = {name[0]: {slot for slot, each in executor.order if each[0] == name[0]} for _, name in executor.order}
    assert slots == {"x": {0}, "y": {1}}


def test_what_others_wait_for_comes_before_what_nobody_waits_for(tmp_path):
    _, order, *_ = run(tmp_path, [row("easy", base="z"), row("user", "lock"), row("lock")])
    assert order == ["lock", "easy", "user"]


def test_a_finished_run_is_not_made_again(tmp_path):
    rows, order, *_ = run(tmp_path, [row("lock", status="finished"), row("a", "lock", base="lock")])
    assert order == ["a"] and rows["lock/0-seed0"].attempts == 0


def test_a_failed_run_is_tried_again_and_what_it_did_is_written_down(tmp_path):
    rows, order, events, folder, _ = run(tmp_path, [row("a")], retries=2, failing={"a/0-seed0": 2})
    assert order == ["a", "a", "a"] and rows["a/0-seed0"].status == "finished" and rows["a/0-seed0"].error is None
    assert [kind for kind, _ in events] == ["started", "retried"] * 2 + ["started", "finished"]
    assert [each["ok"] for each in folder.attempts()["a/0-seed0"]] == [False, False, True]


def test_what_needs_a_run_that_fails_is_blocked_and_the_rest_goes_on(tmp_path):
    rows = [row("lock"), row("a", "lock"), row("after", "a"), row("other")]
    rows, order, _, _, _ = run(tmp_path, rows, failing={"lock/0-seed0": 9})
    assert order == ["lock", "lock", "other"]
    status = {each.name: each.status for each in rows.values()}
    assert status == {"lock": "failed", "a": "blocked", "after": "blocked", "other": "finished"}
    assert rows["lock/0-seed0"].error == "it broke" and "lock" in rows["a/0-seed0"].error


def test_a_run_that_says_it_is_done_and_is_not_has_failed(tmp_path):
    rows, *_ = run(tmp_path, [row("a")], retries=0, silent=("a/0-seed0",))
    assert rows["a/0-seed0"].status == "failed" and "no finished run" in rows["a/0-seed0"].error


def test_a_choice_of_runs_comes_with_all_that_they_need():
    rows = {each.id: each for each in (row("base"), row("lock", "base"), row("a", "lock"), row("b", "base"))}
    assert [name.partition("/")[0] for name in with_needs(rows, ["a/0-seed0"])] == ["base", "lock", "a"]


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    folder, rows = StudyFolder(tmp_path / "s"), [row("lock"), row("a", "lock", base="lock")]
    folder.write({"study": "s", "figures": {"3": {"x": "k"}}}, rows)
    content, read = read_manifest(folder.path)
    assert content == {"study": "s", "figures": {"3": {"x": "k"}}} and read == rows


def test_what_is_kept_of_a_finished_run(tmp_path):
    for name, keep in (("a", "all"), ("b", "models"), ("c", "results"), ("d", "results")):
        each = row(name)
        finish(tmp_path, each.id)
        (tmp_path / each.id / "model" / "plm.json").touch()
        (tmp_path / each.id / "checkpoints").mkdir()
        prune(tmp_path / each.id, keep, needed=name == "d")
    left = {name: sorted(file.name for file in (tmp_path / f"{name}/0-seed0").rglob("*")) for name in "abcd"}
    model = ["manifest.json", "model", "model.safetensors", "plm.json"]
    assert left == {"a": ["checkpoints", *model], "b": model, "c": ["manifest.json", "model", "plm.json"], "d": model}
    assert run_finished(tmp_path, row("c"), needed=False) and not run_finished(tmp_path, row("c"))
    assert run_finished(tmp_path, row("d"))
