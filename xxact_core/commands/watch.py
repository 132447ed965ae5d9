"""The command `xxact watch`."""

from __future__ import annotations

import json
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xxact_core.commands.options import (
    ElementsOption,
    ExcludeOption,
    FileNamesOption,
    FormulaOption,
    InstrumentOption,
    MaybeOption,
    ModelOption,
    OneOfOption,
    ReferenceOption,
    ScanOption,
    WavelengthOption,
)

if TYPE_CHECKING:
    from xxact_core.watch_folder.ledger import AnsweredFile

app = typer.Typer()


@app.command()
def watch(  # noqa: PLR0913 - one argument per option
    folder: Annotated[Path, typer.Argument(help="Folder that the diffractometer writes to.")],
    *,
    output: Annotated[Path, typer.Option(help="Folder for the answers; the same command continues there.")],
    elements: ElementsOption = None,
    maybe: MaybeOption = None,
    one_of: OneOfOption = None,
    exclude: ExcludeOption = None,
    formula: FormulaOption = None,
    wavelength: WavelengthOption = None,
    scan: ScanOption = "0",
    files: FileNamesOption = "*",
    recursive: Annotated[bool, typer.Option("--recursive", help="Also watch the folders inside.")] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="Files to write for each pattern: json (always), html, png, svg, pdf, nxs (NeXus), eln, jsonld, csv; "
            "repeatable. By default json, html and png.",
        ),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(help="Web address that messages are posted to, as JSON. By default nothing is sent.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="Program that is run for every message, which it reads on standard input.")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            help="What messages are sent for: 'no match', 'new phase', 'error' or 'answer' (all); repeatable. By "
            "default 'no match' and 'new phase'."
        ),
    ] = None,
    expected: Annotated[str | None, typer.Option(help="Formulas of phases that are no news: 'TiO2,ZnO'.")] = None,
    settle: Annotated[float, typer.Option(help="Time for which a file must not change to count as whole [s].")] = 2.0,
    poll: Annotated[float, typer.Option(help="Time between two looks at the folder [s].")] = 1.0,
    workers: Annotated[int, typer.Option(help="Number of processes; 0 for one or two.")] = 0,
    once: Annotated[bool, typer.Option("--once", help="End once every file in the folder has an answer.")] = False,
    predict: Annotated[
        bool, typer.Option("--predict/--no-predict", help="Whether properties are predicted by the model, too.")
    ] = True,
    processing: Annotated[
        Path | None, typer.Option(help="JSON file with the processing steps for the prediction.")
    ] = None,
    instrument: InstrumentOption = None,
    model: ModelOption = None,
    reference: ReferenceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each answer as a line of JSON.")] = False,
) -> None:
    """Analyse every new pattern file of a folder: JSON, report and plot for each, until the command is ended.

    A file is answered once it has not changed for a while, and again where its content changes later.
    """
    from xxact_core.reports.analysed_pattern import AnalysisSettings
    from xxact_core.requests.identifying import parse_symbols
    from xxact_core.watch_folder.alerts import DEFAULT_EVENTS, AlertSettings
    from xxact_core.watch_folder.watch import DEFAULT_FORMATS, FolderWatch, WatchSettings

    settings = WatchSettings(
        folder=folder,
        output=output,
        files=files,
        recursive=recursive,
        formats=tuple(formats or DEFAULT_FORMATS),
        settle=settle,
        poll=poll,
        workers=workers,
        once=once,
    )
    analysis = AnalysisSettings(
        elements=elements,
        maybe=maybe,
        one_of=one_of,
        exclude=exclude,
        formula=formula,
        wavelength=wavelength,
        scan=scan,
        processing=None if processing is None else str(processing),
        instrument=instrument,
        reference=tuple(map(str, reference or ())),
        model=None if model is None else str(model),
        predict=predict,
    )
    alerts = AlertSettings(
        webhook=webhook,
        command=command,
        events=tuple(on or DEFAULT_EVENTS),
        expected=parse_symbols(expected) or (),
    )
    counts = {"ok": 0, "error": 0}

    def tell(note: str) -> None:
        typer.echo(f"xxact: {note}", err=True)

    def report(answer: AnsweredFile, seconds: float) -> None:
        counts[answer.status] += 1
        typer.echo(_to_line(answer, seconds, as_json=as_json))
        sys.stdout.flush()

    watching = FolderWatch(settings, analysis, alerts, tell=tell, answered=report)
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda _number, _frame: watching.stop())
    if not once:
        tell(f"watching {folder}, answers in {output}; Ctrl-C ends it")
    watching.run()
    tell(f"analysed: {counts['ok']}, not possible: {counts['error']}")


def _to_line(answer: AnsweredFile, seconds: float, *, as_json: bool) -> str:
    from xxact_core.watch_folder.ledger import printable

    if as_json:
        facts = {"file": answer.file, "version": answer.version, "status": answer.status, "verdict": answer.verdict}
        return json.dumps(
            {**facts, "sentence": answer.sentence, "answer": f"{answer.base}.json", "seconds": round(seconds, 3)}
        )
    when = datetime.now().astimezone().strftime("%H:%M:%S")
    version = "" if answer.version == 1 else f" (version {answer.version})"
    file = printable(answer.file)  # which a terminal can show
    text = answer.sentence.removeprefix(f"{file}: ")
    return f"{when}  {file}{version}: {text}  [{seconds:.1f} s]"
