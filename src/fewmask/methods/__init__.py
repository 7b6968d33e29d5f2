"""The methods: one file each, registered by name."""

from fewmask.data.batch import Batch
from fewmask.methods import (
    cps,
    diff_cl,
    diffusion_co_training,
    mean_teacher,
    semigda,
    supervised,
    ua_mt,
    uncertainty_dual_network,
)
from fewmask.methods.base import (
    METHODS,
    Method,
    MethodConfig,
    Phase,
    Progress,
    SoftmaxPredictor,
    Step,
    Turn,
    build_method,
    method_config,
    register,
)

__all__ = [
    "METHODS",
    "Batch",
    "Method",
    "MethodConfig",
    "Phase",
    "Progress",
    "SoftmaxPredictor",
    "Step",
    "Turn",
    "build_method",
    "cps",
    "diff_cl",
    "diffusion_co_training",
    "mean_teacher",
    "method_config",
    "register",
    "semigda",
    "supervised",
    "ua_mt",
    "uncertainty_dual_network",
]
