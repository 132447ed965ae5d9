"""The process of a job: runs one command of xxact and records how it ended."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from xxact_app.jobs.progress import State
from xxact_app.jobs.records import Job
from xxact_app.jobs.registry import Jobs
from xxact_core.errors import InputError, is_disk_error, os_error_to_text


def run_job(job: Job) -> tuple[State, str]:
    """Run the command of a job; how it ended, and why."""
    from xxact_core.commands.main import app  # noqa: PLC0415 - a job that was stopped before it began loads nothing

    try:
        app(list(job.arguments), standalone_mode=False)
    except (InputError, FloatingPointError) as error:
        return "failed", str(error)
    except MemoryError:
        return "failed", "out of memory: reduce micro_batch_size or use a smaller dataset"
    except Exception as error:  # noqa: BLE001 - any error ends the job; the record has its message, the log all of it
        traceback.print_exc()
        if isinstance(error, OSError) and is_disk_error(error):
            return "failed", os_error_to_text(error)
        return "failed", f"an error in XxaCT ({type(error).__name__}: {error})"
    stopped = job.kind == "train" and not (Path(job.output) / "model").is_dir()
    return ("cancelled" if stopped else "finished"), ""


def main() -> None:
    """Take over the job whose folder is named on the command line, run it, record its end."""
    folder = Path(sys.argv[1])
    jobs = Jobs(folder.parent)
    job = jobs.take_over(folder.name)
    if job is None:
        return
    state, reason = run_job(job)
    jobs.end(job.key, state, reason=reason)
    jobs.advance()
    sys.exit(0 if state != "failed" else 1)


if __name__ == "__main__":
    main()
