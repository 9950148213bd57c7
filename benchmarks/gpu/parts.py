"""Parts of a step: the loss head, split Lion, packing, and that a step asks nothing of the device."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from measuring import SHAPES, Row, Setting, begin_memory, make_model, peak_gib, seconds_of, shown_gib
from torch import Tensor

from plm.examples import Batch, Example, collate
from plm.losses import clipped_policy_gradient_loss, dpo_loss, sft_loss, token_logprobs
from plm.network import ChoiceDistributions, OneDistribution, PolicyNetwork
from plm.optim import Lion


def loss_head(setting: Setting) -> None:
    """Log-probabilities of 8,192 tokens of a vocabulary of 151,936, 4,096 wide, forward and backward."""
    tokens, words, width = (64, 512, 32) if setting.tiny else (8192, 151936, 4096)
    dtype = torch.float32 if setting.device == "cpu" else torch.bfloat16
    generator = torch.Generator(setting.device).manual_seed(0)
    normal: dict[str, Any] = {"generator": generator, "device": setting.device, "dtype": dtype}
    hidden = torch.randn(tokens, width, **normal).requires_grad_()
    weight = (torch.randn(words, width, **normal) * width**-0.5).requires_grad_()
    targets = torch.randint(words, (tokens,), generator=generator, device=setting.device)

    def step() -> None:
        hidden.grad = weight.grad = None
        token_logprobs(hidden, weight, targets).sum().backward()

    begin_memory(setting.device)
    seconds = seconds_of(step, setting.device)
    peak = peak_gib(setting.device)
    what = f"{tokens:,} tokens, {words:,} words, {width:,} wide, forward and backward"
    real = not setting.tiny and setting.device == "cuda"
    setting.write(Row("loss head", what, f"{1000 * seconds:.0f} ms", "≤ 80 ms", seconds <= 0.080 if real else None))
    met = peak <= 6.5 if real and peak is not None else None
    setting.write(Row("loss head", "memory, weights and gradients included", shown_gib(peak), "≤ 6.5 GiB", met))
    some = slice(0, 64)
    with torch.no_grad():
        logits = hidden[some].double() @ weight.double().T
        expected = logits.log_softmax(-1).gather(1, targets[some, None])[:, 0]
        error = float((token_logprobs(hidden[some], weight, targets[some]).double() - expected).abs().max())
    bar = 1e-4 if dtype == torch.float32 else 5e-2
    setting.write(Row("loss head", "largest error of 64 tokens, nats", f"{error:.1e}", f"≤ {bar:g}", error <= bar))


def split_lion(setting: Setting) -> None:
    """A step of Lion on bfloat16 weights with the bits that they lack, and its equality with float32."""
    count = 1 << (16 if setting.tiny else 28)
    weight = torch.nn.Parameter(torch.randn(count, device=setting.device).mul_(0.02).to(torch.bfloat16))
    weight.grad = torch.randn(count, device=setting.device).to(torch.bfloat16)
    optimizer = Lion([weight], lr=1.5e-6, weight_decay=0.01)
    begin_memory(setting.device)
    seconds = seconds_of(optimizer.step, setting.device)
    moved = 2 * 2 * count * 3 + 2 * count  # weight, momentum and rest read and written, the gradient read
    per_7b = seconds * 7e9 / count
    setting.write(
        Row("split Lion", f"{count:,} weights", f"{1000 * seconds:.1f} ms, {moved / seconds / 1e12:.2f} TB/s")
    )
    setting.write(Row("split Lion", "a step of 7.0e9 weights, from that", f"{per_7b:.2f} s"))
    setting.write(Row("split Lion", "peak memory, 8 bytes a weight held", shown_gib(peak_gib(setting.device))))
    equal = _equals_float32(setting.device)
    setting.write(Row("split Lion", "float32 Lion bit for bit, 20 steps", str(equal), "True", equal))


def _equals_float32(device: str) -> bool:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(4096, generator=generator).mul_(0.02).bfloat16().to(device)
    exact = torch.nn.Parameter(start.float())
    split = torch.nn.Parameter(start.clone())
    pairs = [(exact, Lion([exact], lr=1.5e-6)), (split, Lion([split], lr=1.5e-6, momentum="float32"))]
    for _ in range(20):
        gradient = torch.randn(4096, generator=generator).bfloat16().to(device)
        for weight, optimizer in pairs:
            weight.grad = gradient.to(weight.dtype)
            optimizer.step()
    rest = pairs[1][1].state[split]["rest"]
    joined = ((split.detach().view(torch.int16).int() << 16) + rest.int()).view(torch.float32)
    return torch.equal(joined, exact.detach())


def make_rows(count: int, words: int, longest: int, group: bool = False) -> list[Example]:
    """Rows of different lengths; of a group, two completions share a prompt."""
    generator = torch.Generator().manual_seed(2)

    def ids(size: int) -> list[int]:
        return torch.randint(2, words, (size,), generator=generator).tolist()

    rows: list[Example] = []
    for number in range(count):
        prompt = rows[-1].prompt_ids if group and number % 2 else ids(longest // 2 - number % 7)
        completion = ids(longest // 2 - 3 * (number % 5))
        rows.append(Example(prompt, completion, group=number // 2 if group else -1, problem_id=str(number)))
    return rows


def packing(setting: Setting) -> None:
    """Rows in one line give what padded rows give, and no row sees another.

    In float32 to the last digits; in bfloat16, where the order of sums shows, they are no further from the same weights
    in float32 than padded rows are, twice over.
    """
    shape = SHAPES["tiny"] if setting.tiny else SHAPES["1b"]._replace(layers=4)
    longest = 32 if setting.tiny else 512
    lean = PolicyNetwork(make_model(shape, setting, torch.bfloat16))
    exact = PolicyNetwork(copy.deepcopy(lean.model).float())
    for name, rows in (
        ("rows", make_rows(8, shape.vocabulary, longest)),
        ("pairs that share prompts", make_rows(8, shape.vocabulary, longest, group=True)),
    ):
        wanted = _logprobs(exact, rows, "padded", setting)
        error = float((_logprobs(exact, rows, "packed", setting) - wanted).abs().max())
        words = f"packed − padded, {name}, float32, nats"
        setting.write(Row("packing", words, f"{error:.1e}", "≤ 1e-05", error <= 1e-5))
        packed, padded = (
            float((_logprobs(lean, rows, layout, setting) - wanted).norm()) for layout in ("packed", "padded")
        )
        words = f"packed from float32, {name}, bfloat16, norm of nats"
        setting.write(Row("packing", words, f"{packed:.1e}", f"≤ 2 · {padded:.1e}, padded", packed <= 2 * padded))
    rows = make_rows(8, shape.vocabulary, longest)
    changed = [Example([3] * len(rows[0].prompt_ids), rows[0].completion_ids), *rows[1:]]
    for dtype, network in (("float32", exact), ("bfloat16", lean)):
        before, after = (_logprobs(network, each, "packed", setting) for each in (rows, changed))
        leak = float((before[1:] - after[1:]).abs().max())
        differs = float((before[0] - after[0]).abs().max()) > 0
        words = f"another first row changes the others, {dtype}, nats"
        setting.write(Row("packing", words, f"{leak:.1e}", "0", leak == 0 and differs))


@torch.no_grad()
def _logprobs(network: PolicyNetwork, rows: list[Example], layout: Any, setting: Setting) -> Tensor:
    batch: Batch = move_data_to_device(collate(rows, 0, layout=layout), setting.device)
    return network(batch).float()


Loss = Callable[[PolicyNetwork, Batch], Tensor]


def losses(rows: int, words: int, device: str) -> dict[str, Loss]:
    """Every loss of `plm.losses` and every kind of soft targets, for batches of so many rows."""
    soft = [row % 2 == 0 for row in range(rows)]
    one = OneDistribution(soft, torch.full((words,), 1 / words, device=device))
    choices = torch.arange(2, 6, device=device).expand(rows, 4)
    several = ChoiceDistributions(soft, choices, torch.full((rows, 4), 0.25, device=device))

    def sft(network: PolicyNetwork, batch: Batch) -> Tensor:
        return sft_loss(network(batch), batch.weights_BL)

    def dpo(network: PolicyNetwork, batch: Batch) -> Tensor:
        sums = (network(batch) * batch.weights_BL).sum(1)
        reference = sums.detach() + 1
        return dpo_loss(sums[::2], sums[1::2], reference[::2], reference[1::2], beta=0.1)

    def policy_gradient(network: PolicyNetwork, batch: Batch) -> Tensor:
        logprobs = network(batch)
        advantages = logprobs.new_ones(rows)
        return clipped_policy_gradient_loss(logprobs, logprobs.detach(), advantages, batch.weights_BL, clip=0.2)

    return {
        "SFT": sft,
        "DPO": dpo,
        "policy gradient": policy_gradient,
        "one distribution": lambda network, batch: sft_loss(network(batch, one), batch.weights_BL),
        "choices": lambda network, batch: sft_loss(network(batch, several), batch.weights_BL),
    }


def no_sync(setting: Setting) -> None:
    """A step never waits for the device: forward, backward and optimizer, with torch's own alarm on."""
    if setting.device != "cuda":
        setting.write(Row("no synchronisation", "in a step", "needs CUDA"))
        return
    shape = SHAPES["tiny"] if setting.tiny else SHAPES["1b"]._replace(layers=2)
    network = PolicyNetwork(make_model(shape, setting, torch.bfloat16)).train()
    optimizer = Lion(network.parameters(), lr=1.5e-6)
    for layout, longest in (("padded", 64), ("shared", 64), ("packed", 64), ("packed", 512)):  # 512: logits in chunks
        rows = make_rows(8, shape.vocabulary, longest, group=True)
        batch = move_data_to_device(collate(rows, 0, layout=layout), "cuda")  # type: ignore[arg-type]
        for name, loss in losses(len(rows), shape.vocabulary, "cuda").items():

            def step(batch: Batch = batch, loss: Loss = loss) -> None:
                optimizer.zero_grad(set_to_none=True)
                (loss(network, batch) / batch.step_units).backward()
                optimizer.step()

            found = _waiting(step)
            what = f"a step of {name}, {layout}, rows of up to {longest} tokens"
            setting.write(Row("no synchronisation", what, found or "none", "none", not found))


def _waiting(step: Callable[[], None]) -> str:
    """Where a step waits for the device, the second time: what is made once may wait."""
    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    except RuntimeError as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/plm/" in frame.filename]
        at = ours[-1] if ours else traceback.extract_tb(error.__traceback__)[-1]
        return f"{str(error).splitlines()[0]} at {at.filename.rpartition('/')[2]}:{at.lineno}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""
