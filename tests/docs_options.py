"""The pages that list the options agree with the table that makes them, src/options.h: README.md and man/hakmem.3 have each
option once, none besides, and its default; bounds stand in README's table."""
import os
import re
import sys
from pathlib import Path

SOURCE = Path(os.environ.get("HK_TEST_SOURCE", Path(__file__).resolve().parent.parent))
ROW = re.compile(r'X\((number|text|amount), \w+, "(\w+)", ([^,]+), ([^,]+), ([^,]+), *(?:\\\s*)?"')


def table():
    """Returns {name: (type, default, least, most)} of HK_OPTION_TABLE."""
    text = (SOURCE / "src/options.h").read_text()
    body = re.search(r"#define HK_OPTION_TABLE\(X\)(.*?[^\\])\n\n", text, re.DOTALL).group(1)
    constants = dict(re.findall(r"\b(HK_\w+) = (\d+),", text))
    rows = {name: (kind, constants.get(default, default), least, most) for kind, name, default, least, most in ROW.findall(body)}
    if len(rows) != len(re.findall(r"\bX\(", body)):
        sys.exit("docs_options: a row of HK_OPTION_TABLE is not understood")
    return rows


def bound_text(bound):
    """How a bound is written in the pages."""
    shift = re.fullmatch(r"1u? << (\d+)", bound)
    return f"2^{shift.group(1)}" if shift else bound


def values_text(kind, least, most):
    """What README's column of values must begin with; None if that is prose."""
    if kind != "number":
        return None
    if most.isdigit() and int(most) <= 9:
        return ", ".join(str(value) for value in range(int(least), int(most) + 1))
    return f"{bound_text(least)} to {bound_text(most)}"


def compare(page, listed, rows):
    complaints = [f"{page}: {name} stands {listed.count(name)} times" for name in sorted(set(listed)) if listed.count(name) > 1]
    complaints += [f"{page}: {name} is missing" for name in sorted(set(rows) - set(listed))]
    complaints += [f"{page}: {name} is no option" for name in sorted(set(listed) - set(rows))]
    return complaints


def check_readme(text, rows):
    lines = re.findall(r"^\| `HAKMEM_(\w+)` \| ([^|]*) \| ([^|]*) \|", text, re.MULTILINE)
    complaints = compare("README.md", [name for name, _, _ in lines], rows)
    for name, values, default in lines:
        kind, real, least, most = rows.get(name, ("text", "NULL", "0", "0"))
        wanted = values_text(kind, least, most)
        if wanted is not None and values != wanted:
            complaints.append(f"README.md: {name} takes {wanted}, and the table says {values}")
        if kind == "number" and not re.match(rf"{real}\b", default):
            complaints.append(f"README.md: {name} is {real} by default, and the table says {default}")
    return complaints


def check_manual(text, rows):
    section = text.partition(".SH ENVIRONMENT")[2].partition("\n.SH ")[0]
    entries = dict(re.findall(r"\.TP\n\.B HAKMEM_(\w+)\n(.*?)(?=\.TP\n|\.PP\n|\Z)", section, re.DOTALL))
    listed = re.findall(r"^\.TP\n\.B HAKMEM_(\w+)$", section, re.MULTILINE)
    complaints = compare("hakmem.3", listed, rows)
    for name, entry in entries.items():
        kind, real, _, _ = rows.get(name, ("text", "NULL", "0", "0"))
        if kind == "number" and not re.search(rf"\b{real}, the default\b", entry):
            complaints.append(f"hakmem.3: {name} does not say '{real}, the default'")
    return complaints


def main():
    rows = table()
    complaints = check_readme((SOURCE / "README.md").read_text(), rows)
    complaints += check_manual((SOURCE / "man/hakmem.3").read_text(), rows)
    print("\n".join(complaints) if complaints else f"{len(rows)} options, as README.md and hakmem.3 have them")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
