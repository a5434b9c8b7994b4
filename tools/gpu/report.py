"""The results of run-checks on a GPU, as Markdown."""

def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*lines, *("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows), ""]


def step_table(checks, batches):
    """Ours and PyTorch's step times, a row each."""
    rows = {}
    for row in checks:
        data = row["data"]
        if row["check"].startswith("step, ") and data:
            name = "pixtape, " + ("as a graph" if data["graph"] else "one by one")
            rows.setdefault(name, {})[data["batch"]] = data["median_ms"]
        elif row["check"].startswith("PyTorch ") and data:
            for result in data:
                name = f"PyTorch {result['torch']} `{result['config']}`"
                rows.setdefault(name, {})[result["batch"]] = result["median_ms"]
    cells = [[name, *(f"{ms[b]:.2f}" if b in ms else "" for b in batches)] for name, ms in rows.items()]
    return table(["ms a step at batch", *map(str, batches)], cells)


def markdown(parts):
    """The report. `parts` is {name: results of the part, from results/}, at least one."""
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
        timed = ("PyTorch ", "step, ")
        rows = [row for row in part["checks"] if not row["check"].startswith(timed) or row["status"] != "ok"]
        lines += table(
            ["check", "result"],
            [[r["check"], r["detail"] if r["status"] == "ok" else f"**{r['status']}**: {r['detail']}"] for r in rows],
        )
        if name == "speed":
            steps = [row for row in part["checks"] if row["check"].startswith("step, ") and row["data"]]
            batches = sorted({row["data"]["batch"] for row in steps})
            lines += step_table(part["checks"], batches)
    return "\n".join(lines).rstrip()
