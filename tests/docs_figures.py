"""README.md shows the figures of bench/RESULTS.md."""
import os
import sys
from pathlib import Path

SOURCE = Path(os.environ.get("HK_TEST_SOURCE", Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "bench"))
from hkbench import readme  # noqa: E402  (behind the line above)


def main():
    page = (SOURCE / "README.md").read_text()
    if readme.update(page, (SOURCE / "bench/RESULTS.md").read_text()) != page:
        print("docs_figures: README.md's figures are not those of bench/RESULTS.md: bench/compare --readme writes them")
        return 1
    print(f"{len(readme.ROWS)} rows, as RESULTS.md has them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
