"""What a study is expected to cost: what it measured itself, what its file says, what others measured."""

from plm.files import append_jsonl
from plm.studies.forecast import Forecast, totals
from plm.studies.manifest import Row
from plm.studies.study import Estimate

STATED = {"elicit_sft_code": Estimate(1440, "gpu", 84, 56, 28), "samples": Estimate(60)}


def attempt(runs, study, name, seconds, ok=True):
    folder = runs / "studies" / study
    folder.mkdir(parents=True, exist_ok=True)
    append_jsonl(folder / "attempts.jsonl", [{"run": f"{name}/0-seed0", "seconds": seconds, "ok": ok}])


def test_other_studies_do_not_speak_for_a_run_whose_cost_is_stated(tmp_path):
    """The miniature's seconds are not the paper's, though the runs have the same names."""
    attempt(tmp_path, "paper_mini", "elicit_sft_code", 5.0)
    attempt(tmp_path, "paper_mini", "noise_code", 7.0)
    forecast = Forecast(tmp_path, STATED, "paper")
    assert forecast.seconds("elicit_sft_code") == 1440 and not forecast.is_measured("elicit_sft_code")
    assert forecast.seconds("noise_code") == 7.0 and forecast.is_measured("noise_code")  # nothing else is known
    assert forecast.seconds("unheard_of") is None


def test_what_the_study_measured_itself_comes_first(tmp_path):
    for seconds in (900.0, 1000.0, 2000.0):
        attempt(tmp_path, "paper", "elicit_sft_code", seconds)
    attempt(tmp_path, "paper", "elicit_sft_code", 1.0, ok=False)
    attempt(tmp_path, "paper-quick", "samples_weak_code", 30.0)
    forecast = Forecast(tmp_path, STATED, "paper")
    assert forecast.seconds("elicit_sft_code") == 1000.0  # the median of those that ended well
    assert forecast.seconds("samples_weak_code") == 30.0 and forecast.seconds("samples_strong_code") == 60


def test_hours_by_device_and_disk_by_what_is_kept(tmp_path):
    rows = [Row(f"elicit_sft_code/{n}-seed0", ["fit"], "elicit", 0) for n in range(4)]
    forecast, said = Forecast(tmp_path, STATED, "paper"), {}
    for keep in ("all", "models", "results"):
        kinds = forecast.kinds(rows, keep)
        said[keep] = totals(kinds, tmp_path, {"cpu": 2, "gpu": 1})
    assert said["all"][:2] == ["runs    4, of which 4 are to be made", "hours   1.60 of GPU"]
    sizes = [next(line for line in lines if line.startswith("disk")).split()[1] for lines in said.values()]
    assert sizes == ["336.0", "112.0", "0.0"]
    assert totals(kinds, tmp_path, {"cpu": 2, "gpu": 4})[1] == "hours   1.60 of GPU, about 0.40 with 4 at a time"
