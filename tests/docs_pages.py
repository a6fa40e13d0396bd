"""The pages against the tree: hakmem(3) has every function and every figure of hakmem.h and no others, links between pages lead
somewhere, and files of the tree that are named, or begin so, exist."""
import os
import re
import sys
from pathlib import Path

SOURCE = Path(os.environ.get("HK_TEST_SOURCE", Path(__file__).resolve().parent.parent))
PAGES = sorted([*SOURCE.glob("*.md"), *SOURCE.glob("docs/*.md"), *SOURCE.glob("docs/adr/*.md"), SOURCE / "bench/README.md"])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:src|tests|docs|man|include|cmd|scripts)/[\w./-]*\w)`")


def differences(what, pages, real):
    return ([f"hakmem.3: {what} {name} is missing" for name in sorted(real - pages)] +
            [f"hakmem.3: there is no {what} {name}" for name in sorted(pages - real)])


def check_manual():
    header = (SOURCE / "include/hakmem/hakmem.h").read_text()
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    manual = (SOURCE / "man/hakmem.3").read_text()
    synopsis = manual.partition(".SH SYNOPSIS")[2].partition(".SH DESCRIPTION")[0]
    functions = set(re.findall(r"\b(hak_\w+)\s*\(", code))
    structure = re.search(r"typedef struct hak_stats \{(.*?)\} hak_stats_t;", code, re.DOTALL).group(1)
    fields = set(re.findall(r"(\w+)\s*(?:\[\d+\])?;", structure))
    complaints = differences("function", set(re.findall(r"\b(hak_\w+)\(", synopsis)), functions)
    complaints += [f"hakmem.3: {name} is not described" for name in sorted(functions)
                   if name not in manual.partition(".SH DESCRIPTION")[2]]
    return complaints + differences("figure", set(re.findall(r"^\\fI(\w+)\\fR(?:\[4\])?\t", manual, re.MULTILINE)), fields)


def anchors(page):
    """The anchors of a page's headings, as they are made from their text."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_links(page):
    text = page.read_text()
    complaints = []
    for link in LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            complaints.append(f"{page.name}: {link} leads nowhere")
        elif anchor and anchor not in anchors(target):
            complaints.append(f"{page.name}: {link} names no heading")
    return complaints + [f"{page.name}: there is no {name}" for name in sorted(set(NAMED.findall(text)))
                         if not any(list(place.glob(name + "*")) for place in (SOURCE, page.parent))]


def main():
    complaints = check_manual()
    for page in PAGES:
        complaints += check_links(page)
    print("\n".join(complaints) if complaints else f"{len(PAGES)} pages and hakmem.3 agree with the tree")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
