"""The table of the benchmarks: table.py ROWS RESULTS README.

ROWS are lines of JSON that the benchmarks wrote just now. They replace those of the same name in RESULTS, which is JSON, too,
with the machine and the date; the table is printed, and written into README between its two marks.
"""

import datetime
import json
import os
import platform
import sys

rows_path, results_path, readme_path = sys.argv[1:4]


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    with open("/proc/meminfo") as file:
        kilobytes = int(file.readline().split()[1])
    name = models[0] if models else platform.machine()
    return f"{os.cpu_count()} cores of {name}, {kilobytes / 2**20:.0f} GiB, Linux {platform.release()}"


def number(value, unit):
    if unit == "ms" and value >= 1000:
        return f"{value / 1000:.1f} s"
    text = f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"
    return f"{text} {unit}".strip()


def spread(three, unit):
    return f"{number(three[0], unit)} ({number(three[1], unit)} – {number(three[2], unit)})"


def cells(row):
    alone = row["judged"] == "median"
    theirs = "–" if alone else f"{row['peer']}: {spread(row['theirs'], row['unit'])}"
    sense = "≤" if row["sense"] == "<=" else "≥"
    wanted = f"{sense} {row['limit']:g}" + ("" if alone else " ×")
    ratio = "–" if alone else f"{row['ratio']:.2f} ×"
    return [row["row"], spread(row["ours"], row["unit"]), theirs, ratio, wanted, "yes" if row["holds"] else "**no**"]


def table(results):
    lines = ["| what | cm: median (least – most) | peer | ratio | target | holds |", "|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in results["rows"]]
    return "\n".join(lines)


results = {"rows": []}
# Of a run of all benchmarks, what none of them measures any more is left out.
if os.environ.get("CM_BENCH_ALL") != "1" and os.path.exists(results_path):
    with open(results_path) as file:
        results = json.load(file)
with open(rows_path) as file:
    new = [json.loads(line) for line in file]
date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
for row in new:
    row["date"] = date
    known = [index for index, old in enumerate(results["rows"]) if old["row"] == row["row"]]
    if known:
        results["rows"][known[0]] = row
    else:
        results["rows"].append(row)
programs = "/".join(os.path.realpath(os.environ.get("CM_BIN_DIR", "target/dist")).split("/")[-2:])
results = {"date": date, "machine": machine(), "programs": programs, "rows": results["rows"]}
with open(results_path, "w") as file:
    json.dump(results, file, indent=1, ensure_ascii=False)
    file.write("\n")

loads = [row["load"] for row in results["rows"]]
about = f"Measured on {date}: {results['machine']}, load {min(loads):g} to {max(loads):g}; programs of `{programs}`."
text = f"{about}\n\n{table(results)}"
print(text)
with open(readme_path) as file:
    readme = file.read()
begin, end = "<!-- bench -->\n", "<!-- /bench -->"
if begin not in readme or end not in readme:
    sys.exit(f"[FAIL] {readme_path} has no marks for the table: {begin.strip()} and {end}")
before, rest = readme.split(begin, 1)
after = rest.split(end, 1)[1]
with open(readme_path, "w") as file:
    file.write(f"{before}{begin}{text}\n{end}{after}")
missed = [row["row"] for row in new if not row["holds"]]
for name in missed:
    print(f"[FAIL] misses its target: {name}", file=sys.stderr)
sys.exit(1 if missed else 0)
