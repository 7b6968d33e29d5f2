"""``fewmask networks``: what there is, with sizes."""

from __future__ import annotations

from fewmask.cli.console import console, print_json
from fewmask.cli.options import JsonOption


def networks(as_json: JsonOption = False) -> None:
    """List the networks with their parameter counts.

    Counted at the published width, for one channel and two classes.
    """
    from rich.table import Table

    from fewmask.config import NetworkConfig
    from fewmask.networks import NETWORKS, build_network
    from fewmask.networks.counting import count_parameters
    from fewmask.task import Task

    rows = []
    for name in NETWORKS:
        for dims in NETWORKS[name].spatial_dims:
            task = Task(dims, 1, ("background", "object"), (16,) * dims, (1.0,) * dims)
            count = count_parameters(build_network(task, NetworkConfig(name=name)))
            rows.append({"name": name, "dims": dims, "parameters": count, "idea": NETWORKS[name].idea})
    if as_json:
        print_json(rows)
        return
    table = Table("network", "dimensions", "parameters", "idea")
    for row in rows:
        table.add_row(str(row["name"]), f"{row['dims']}D", f"{row['parameters']:,}", str(row["idea"]))
    console().print(table)
