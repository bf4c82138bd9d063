"""The pretend GPU refuses and counts what CUDA does, on cases known by heart."""

import numpy as np
import pytest
import torch
from pretend_gpu import pretend_gpu
from pretend_tensor import Mismatch


def test_tensors_of_two_devices_are_refused_in_one_operation():
    with pretend_gpu():
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        assert there.device == torch.device("cuda", 0) and there.is_cuda and not there.is_cpu
        for mixed in (
            lambda: here + there,
            lambda: torch.cat([there, here]),
            lambda: there @ here,
            lambda: there.index_select(0, torch.tensor([0])),
            lambda: there.masked_fill(here > 0, 0.0),
        ):
            with pytest.raises(Mismatch, match="cuda:0 and cpu"):
                mixed()
        assert (there + torch.tensor(2.0)).cpu().tolist() == [3, 3, 3]  # a number may be anywhere
        with pytest.raises(TypeError, match="to numpy"):
            there.numpy()
        with pytest.raises(TypeError, match="to numpy"):
            np.asarray(there)


def test_generators_belong_to_one_device():
    with pretend_gpu():
        here, there = torch.Generator(), torch.Generator("cuda")
        assert there.device == torch.device("cuda", 0)
        drawn = torch.randn(4, generator=there.manual_seed(3), device="cuda").cpu()
        assert drawn.equal(torch.randn(4, generator=here.manual_seed(3)))
        for wrong in (
            lambda: torch.randn(4, generator=here, device="cuda"),
            lambda: torch.rand(4, generator=there),
            lambda: torch.multinomial(torch.ones(3, device="cuda"), 2, generator=here),
            lambda: torch.empty(2, device="cuda").exponential_(generator=here),
        ):
            with pytest.raises(Mismatch, match="for generator but found"):
                wrong()


WAITING = {
    "a number": (lambda x: float(x.sum()), 1),
    "a truth": (lambda x: bool((x > 0).all()), 1),
    "a list": (lambda x: x.tolist(), 1),
    "a copy to the host": (lambda x: x.cpu(), 1),
    "rows by a mask": (lambda x: x[x > 0], 1),
    "rows by a host index": (lambda x: x[torch.tensor([0, 1])], 1),
    "rows by a list": (lambda x: x[[0, 1]], 1),
    "positions": (lambda x: x.nonzero(), 1),
    "host values": (lambda x: torch.tensor([1.0, 2.0], device="cuda"), 1),
    "host values like it": (lambda x: x.new_tensor([1.0]), 1),
    "a host array": (lambda x: torch.ones(3).to("cuda"), 1),
    "not pinned": (lambda x: torch.ones(3).to("cuda", non_blocking=True), 1),
    "pinned": (lambda x: torch.ones(3).pin_memory().to("cuda", non_blocking=True), 0),
    "pinned but blocking": (lambda x: torch.ones(3).pin_memory().to("cuda"), 1),
    "an index on the device": (lambda x: x[torch.arange(2, device="cuda")], 0),
    "a slice": (lambda x: x[1:], 0),
    "a number written": (lambda x: x.mul_(2.0), 0),
    "a choice": (lambda x: torch.where(x > 0, x, 0.0), 0),
    "eigenvectors": (lambda x: torch.linalg.eigh(x.outer(x)), 1),
}


@pytest.mark.parametrize("case", WAITING)
def test_what_makes_the_host_wait_is_counted_at_its_line(case):
    act, waits = WAITING[case]
    with pretend_gpu() as work:
        x = torch.ones(3, device="cuda")
        act(x)
    assert sum(work.waits.values()) == waits
    assert all("test_pretend_gpu.py" in at for _, at in work.waits)


def test_kernels_are_counted_and_views_are_none():
    with pretend_gpu() as work:
        x = torch.ones(3, 2, device="cuda")
        assert sum(work.launches.values()) == 1
        y = x.T[0].view(3).detach()
        assert sum(work.launches.values()) == 1
        (y * 2).sum()
    assert sum(work.launches.values()) == 3


def test_gradients_vmap_and_optimisers_give_the_numbers_of_the_cpu():
    def learned(device):
        w = torch.linspace(0, 1, 6, device=device).view(2, 3).requires_grad_()
        x = torch.arange(12.0, device=device).view(4, 3) / 12
        each = torch.func.vmap(lambda row: (x @ row).softmax(0).square().sum())
        optimizer = torch.optim.AdamW([w], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            each(w).sum().backward()
            optimizer.step()
        return w.detach()

    want = learned("cpu")
    with pretend_gpu():
        got = learned("cuda").cpu()
    assert got.equal(want)


def test_a_stream_may_use_what_another_has_made_once_it_has_waited_for_it():
    with pretend_gpu() as work:
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()
        with torch.cuda.stream(side):
            made = torch.ones(3, device="cuda")
            event = torch.cuda.current_stream().record_event()
            assert torch.cuda.current_stream() is side
        with pytest.raises(Mismatch, match="another stream makes, without waiting"):
            made + 1
        here.wait_event(event)
        made + 1
        with torch.cuda.stream(side), pytest.raises(Mismatch, match="another stream"):
            torch.cat([made, _on(here)])
        side.wait_stream(here)
        with torch.cuda.stream(side):
            torch.cat([made, _on(here)])
    assert not work.waits  # the host has waited for nothing


def _on(stream):
    with torch.cuda.stream(stream):
        return torch.ones(3, device="cuda")


def test_nothing_of_it_is_left_afterwards():
    before = torch.Generator, torch.Tensor.device, torch.cuda.is_available()
    with pretend_gpu():
        assert torch.cuda.is_available() and torch.cuda.device_count() == 1
    assert (torch.Generator, torch.Tensor.device, torch.cuda.is_available()) == before
    assert torch.ones(2).device.type == "cpu"
