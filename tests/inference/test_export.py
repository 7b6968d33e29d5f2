import pytest
import torch
from torch import nn

from fewmask.errors import RunError
from fewmask.inference.export import export_program, export_run


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 1)
        )

    def forward(self, image):
        return self.layers(image).softmax(1)


def test_program_takes_any_batch_and_is_in_evaluation_mode(tmp_path):
    torch.manual_seed(0)
    module = Small().train()
    module(torch.randn(8, 1, 16, 16))  # running statistics that are not the initial ones
    torch.export.save(export_program(module, (1, 16, 16)), tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for size in (1, 2, 7):
        patches = torch.randn(size, 1, 16, 16)
        torch.testing.assert_close(program(patches), module.eval()(patches), atol=1e-6, rtol=0)


def test_no_run_no_file(tmp_path):
    with pytest.raises(RunError, match="is not a run folder"):
        export_run(tmp_path, tmp_path / "model.pt2")
    assert not (tmp_path / "model.pt2").exists()
