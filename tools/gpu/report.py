"""The results of run-checks on a GPU, as Markdown."""


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*lines, *("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows), ""]


def step_results(checks):
    """(name, result) of every timed step, ours and those of others."""
    for row in checks:
        data = row["data"]
        if row["check"].startswith("step, ") and data:
            yield "pixtape, " + ("as a graph" if data["graph"] else "one by one"), data
        elif isinstance(data, list):
            for result in data:
                if "config" in result:
                    peer = f"JAX {result['jax']}" if "jax" in result else f"PyTorch {result['torch']}"
                    yield f"{peer} `{result['config']}`", result


def step_table(checks):
    """Times of a step in a row of several that are not waited for, and in multiples of the card's floor."""
    rows, batches = {}, set()
    for name, result in step_results(checks):
        ms, floor = result.get("replay_ms", result["median_ms"]), result.get("floor_ms")
        rows.setdefault(name, {})[result["batch"]] = f"{ms:.3f}" + (f" ({ms / floor:.2f})" if floor else "")
        batches.add(result["batch"])
    if not rows:
        return []
    order = sorted(batches)
    cells = [[name, *(times.get(batch, "") for batch in order)] for name, times in rows.items()]
    return table(["ms a step (multiples of the card's floor) at batch", *map(str, order)], cells)


def constants_table(checks):
    """The constants of the time model that were measured, beside those of gpu.toml."""
    rows = []
    for row in checks:
        found = (row["data"] or {}).get("constants", {}) if isinstance(row["data"], dict) else {}
        rows += [[name, f"{c['before']:g}", f"{c['value']:.4g}", c["how"]] for name, c in found.items()]
    return table(["constant", "src/profile/gpu.toml", "measured", "how"], rows) if rows else []


def kernels_table(checks):
    """The kernels of a step at batch 1, the slowest first."""
    for row in checks:
        if row["check"] == "kernels, batch 1" and row["data"]:
            timed = [kernel for kernel in row["data"]["kernels"] if kernel["us"] is not None]
            timed.sort(key=lambda kernel: -kernel["us"])
            cells = [[k["layer"], k["kernel"], k["launches"], k["blocks"], f"{k['us']:.1f}"] for k in timed]
            return table(["layer", "kernel", "launches", "blocks", "us"], cells) if cells else []
    return []


def markdown(parts):
    """The report. `parts` is {name: results of the part}, at least one."""
    lines = ["# On a GPU", ""]
    any_part = next(iter(parts.values()))
    bundle = any_part["bundle"] or {}
    lines.append(
        f"Card and driver: {any_part['card'] or 'none'}. "
        f"Commit {bundle.get('commit', '?')}, kernels by nvcc {bundle.get('nvcc', '?')}. "
        f"Measured on {any_part['date']} by `tools/gpu/run-checks`."
    )
    if any(part["dry_run"] for part in parts.values()):
        lines += ["", "**A dry run: tiny sizes, no GPU. These numbers mean nothing.**"]
    lines.append("")
    for name, part in parts.items():
        lines += [f"## {name.capitalize()}", ""]
        result = {"ok": "{detail}"}
        rows = [[r["check"], result.get(r["status"], "**{status}**: {detail}").format(**r)] for r in part["checks"]]
        lines += table(["check", "result"], rows)
        for more in (step_table, constants_table, kernels_table):
            lines += more(part["checks"])
    return "\n".join(lines).rstrip()
