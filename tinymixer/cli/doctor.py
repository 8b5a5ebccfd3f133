"""tinymixer doctor: shows what tinymixer can use on this machine, and what it lacks."""

from typing import Any

import click
from click.exceptions import Exit

from tinymixer.cli.output import json_option, print_json, print_labelled
from tinymixer.text import counted


@click.command(short_help="Show versions, BLAS, threads, GPU, caches, and what is missing.")
@click.option(
    "--gpu",
    is_flag=True,
    help="Hold the GPU's training step to the layers' gradients in every precision, and show how it is computed.",
)
@click.option(
    "--recipe",
    metavar="RECIPE",
    help="With --gpu: the recipe, or TOML file, whose model and batch are tried [default: cifar10-nano].",
)
@json_option
def doctor(gpu: bool, recipe: str | None, as_json: bool) -> None:
    """Show what tinymixer can use here: versions, processor, BLAS and its threads, the GPU (or why there is none), data
    sets, and the folder for fetched data.

    With --gpu it takes two training steps in every number format and compares all gradients with those of the layers.
    It ends with 1 where a precision had to go through the layers, and with 2 where there is no GPU.

    \b
    Examples:
      tinymixer doctor
      tinymixer doctor --json > doctor.json
      tinymixer doctor --gpu
      tinymixer doctor --gpu --recipe mine.toml
    """
    if gpu:
        from tinymixer.cli.doctor_gpu import show_gpu

        raise Exit(show_gpu(recipe or "cifar10-nano", as_json))
    if recipe is not None:
        raise click.UsageError("--recipe says what --gpu tries: add --gpu")
    from tinymixer.cli.system_facts import system_facts
    from tinymixer.training.recipe import recipe_names

    facts = system_facts() | {"data": _data_facts(), "recipes": recipe_names()}
    if as_json:
        print_json(facts)
        return
    _show(facts)
    for warning in facts["warnings"]:
        click.echo(f"warning: {warning}", err=True)


def _data_facts() -> dict[str, Any]:
    """The folder for fetched data, and the data sets that can be used now."""
    from tinymixer.data import DATASETS, cache_folder, dataset_info

    return {"cache": str(cache_folder()), "available": {name: dataset_info(name)["available"] for name in DATASETS}}


def _show(facts: dict[str, Any]) -> None:
    cpu, blas, gpu, data = facts["cpu"], facts["blas"], facts["gpu"], facts["data"]
    installed = [f"{name} {version}" for name, version in facts["packages"].items() if version]
    absent = [name for name, version in facts["packages"].items() if not version]
    threads = (
        "threads unknown (pip install threadpoolctl)" if blas["threads"] is None else counted(blas["threads"], "thread")
    )
    core = f", {blas['core']} kernels" if blas["core"] else ""
    speed = f"float32 products at {blas['gigaflops_float32']:,.{0 if blas['gigaflops_float32'] >= 10 else 1}f} GFLOP/s"
    cached = [f"{name} ({'ready' if there else 'not fetched'})" for name, there in data["available"].items()]
    print_labelled(
        {
            "tinymixer": facts["tinymixer"],
            "Python": f"{facts['python']}, {facts['executable']}",
            "system": facts["platform"],
            "packages": ", ".join(installed),
            "not installed": ", ".join(absent) or "-",
            "processor": f"{cpu['name']}, {counted(cpu['cores'], 'core')}",
            "slices": f"{counted(cpu['cache']['slice_images'], 'image')} of the default model at a time, "
            f"{cpu['cache']['forward_images']} in a forward pass ({cpu['cache']['slice_reason']})",
            "BLAS": f"{blas['name']} {blas['version'] or ''}".rstrip() + f"{core}, {threads}, {speed}",
            "GPU": _gpu_line(gpu),
            "data sets": ", ".join(cached),
            "data cache": data["cache"],
            "recipes": ", ".join(facts["recipes"]),
        }
    )


def _gpu_line(gpu: dict[str, Any]) -> str:
    if not gpu["usable"]:
        return f"none used: {gpu['obstacle']}"
    return (
        f"{gpu['name']}, {gpu['memory_gib']} GiB, compute capability {gpu['compute_capability']}, "
        f"CUDA {gpu['cuda_runtime']}, driver for CUDA {gpu['cuda_driver']}"
    )
