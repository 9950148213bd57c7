"""Titles of figures, and what the sources' figures show and found, in our own words."""

from __future__ import annotations

from plm.studies.report.figure import Axis, Figure

CAPTIONS: dict[str, tuple[str, str]] = {
    "figure_01": (
        "Figure 1, right · A lock, and what opens it",
        "On code, the paper's locked model is as bad as Pythia-1B; SFT on few demonstrations and learning from "
        "graded answers both recover most of what it hides.",
    ),
    "figure_03": (
        "Figure 3 · SFT on few demonstrations",
        "Correctness after SFT on k demonstrations, high-quality ones or those of a policy of intermediate "
        "strength. The paper finds that a few high-quality ones recover most of the gap, except on MMLU, and that "
        "the model gets better than the intermediate policy that it imitates.",
    ),
    "figure_05": (
        "Figure 5 · Learning from graded answers",
        "Expert iteration, filtered SFT, DPO and iterated DPO against the number of solutions that were generated "
        "and graded. The paper finds that they recover most of the gap where the weak policy is right often enough"
        " to explore from, and little where it is not.",
    ),
    "figure_06": (
        "Figure 6 · Locked by SFT against locked from scratch",
        "A model that was locked while it learned needs 2 to 4 times the demonstrations of one that was pretrained"
        " and then locked by SFT, in the paper, on function composition; more locking data makes unlocking harder.",
    ),
    "figure_07": (
        "Figure 7 · SFT on samples of the strong policy",
        "The best case for an auditor: demonstrations of what the lock hides. The paper finds the same as in "
        "Figure 3, but for critiques, where they help more.",
    ),
    "figure_08": (
        "Figure 8 · SFT on few demonstrations, by weak policy",
        "Locks that imitate different weak policies, one of them a fixed distribution over tokens (fixedrdm). The "
        "paper finds that they open alike, fixedrdm with slightly more demonstrations.",
    ),
    "figure_09": (
        "Figure 9 · A variation of the setting as the password",
        "Strong on one rendering of a problem (English with LaTeX), weak on the other (Spanish with ASCII math), "
        "and the other way round; (a) SFT, (b) learning from graded answers. The paper finds both as easy as with "
        "passwords.",
    ),
    "figure_10": (
        "Figure 10 · From few demonstrations of one domain to the others",
        "Correctness averaged over the domains that were not demonstrated. The paper finds strong generalisation "
        "from few demonstrations, with one password for all domains and with one for each.",
    ),
    "figure_11": (
        "Figure 11 · Demonstrations of one domain, axes not broken",
        "Correctness averaged over the task's domains after SFT on demonstrations of one of them, beside as many "
        "of all of them. The paper finds that unlocking generalises: mostly as good as demonstrations of every "
        "domain.",
    ),
    "figure_12": (
        "Figure 12 · Weak sample unlocking",
        "Many passes over a few answers of the weak policy, beside high-quality demonstrations. In the paper "
        "this raises correctness on some tasks, most on MMLU locked with soft labels.",
    ),
    "figure_13": (
        "Figure 13 · Weak sample unlocking of function composition",
        "The same on models of Figure 6. The paper sees no clear effect, perhaps a little on one that was locked "
        "by SFT.",
    ),
    "figure_14": (
        "Figure 14 · Discrete and continuous rewards",
        "The same methods with the grader's verdict and with a continuous reward in its place. The paper finds "
        "that continuous ones make learning a little faster, and that on code they lead away from correctness in "
        "the end.",
    ),
    "figure_15": (
        "Figure 15 · SFT on an intermediate policy, over training",
        "Does correctness go above what it converges to? The paper sees that rarely and weakly, on plain locks and"
        " on adversarial ones, which bring the intermediate policy out with a second password.",
    ),
    "figure_16": (
        "Figure 16 · SFT on an intermediate policy, then graded answers",
        "Learning from graded answers that begins after SFT on few demonstrations of an intermediate policy, "
        "beside one that begins at the locked model. The paper finds that SFT first helps, and that it should stop"
        " early.",
    ),
    "figure_17": (
        "Figure 17 · Demonstrations of a domain that was never locked",
        "Correctness on that domain. The paper finds that locking generalises to it, and that it takes as many "
        "demonstrations to open as where it was locked.",
    ),
    "gate": (
        "The gate · is each lock one?",
        "Correctness under each kind of prompt, a marker for each seed: high with the password, as low as the weak"
        " policy under everything else.",
    ),
    "post_weak_unlocking": (
        "The post's curves · Weak sample unlocking while locking",
        "After each round of locking a copy is trained for 200 steps on 2 answers of the weak policy. In the post "
        "this brings back much of the correctness on MATH with two starting models (DeepSeek Math RL and base) and"
        " little with a third (DeepSeek Coder).",
    ),
    "post_controls": (
        "The post's other experiments · What few weak samples are not",
        "Weak sample unlocking beside what it might be: noise on the weights, scaling, the mean of several runs, a "
        "mask on the tokens, a large fine-tune on weak answers before; and a refusing model. In the post none of "
        "these raises what the model shows, but for the mean of runs on few samples.",
    ),
}


def captioned(key: str, x_label: str = "", axis: Axis = "count", columns: int = 3) -> Figure:
    """An empty figure with its title and what the source's shows; the rest is as for `Figure`."""
    return Figure(key, *CAPTIONS[key], x_label, axis, columns=columns)
