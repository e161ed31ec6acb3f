"""Does a store do what it says? Every capability, tried on the live store.

>>> from objectstorage import open_storage
>>> report = doctor(open_storage("memory://"))
>>> report.ok, sorted({finding.verdict for finding in report.findings})
(True, ['absent', 'holds', 'info'])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from objectstorage._doctor import conditions, listing, objects
from objectstorage._doctor.patient import Check, Differs, Patient
from objectstorage.errors import ErrUnsupported, StorageError
from objectstorage.storage import Capabilities, Storage

__all__ = ["Finding", "Report", "doctor"]

_CHECKS = (*conditions.CHECKS, *listing.CHECKS, *objects.CHECKS)


class Finding(NamedTuple):
    """One thing that was tried.

    `capability` is the field of `Capabilities` it is about, or "contract" for
    what every store promises. `verdict`: "holds"; "broken", promised and not
    so, with `detail`; "absent", not promised and refused when asked for, `detail`
    says in which words;
    "info", a number or a word that is no promise.
    """

    capability: str
    check: str
    promised: bool
    found: str
    verdict: Literal["holds", "broken", "absent", "info"]
    detail: str = ""


class Report(NamedTuple):
    """What was found of a store, and what it declares (after `Storage.probe`)."""

    storage: str
    capabilities: Capabilities
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether everything promised holds."""
        return all(finding.verdict != "broken" for finding in self.findings)


def doctor(store: Storage, *, on_finding: Callable[[Finding], object] | None = None) -> Report:
    """Try every capability of the store, under a prefix of its own that is empty after.

    `on_finding` is called with each finding as it is made. Errors: those of the
    first contact; what fails later is a finding.
    """
    known = store.probe()
    patient = Patient(store, known)
    store.exists(patient.key())  # is it there at all? not every `probe` asks
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if on_finding is not None:
            on_finding(finding)

    try:
        for check in _CHECKS:
            tell(_try(check, patient))
    finally:
        left = patient.clean()
    if left:
        detail = f"{len(left)} objects could not be deleted, {left[0]!r} among them"
        tell(Finding("contract", "cleaning up", True, "no", "broken", detail))
    return Report(store.url, known, tuple(findings))


def _try(check: Check, patient: Patient) -> Finding:
    promised = check.promised(patient.known, patient.conditions)
    place = (check.capability, check.name, promised)
    if not promised:
        if check.asked is None:
            return Finding(*place, "-", "absent")
        try:
            check.asked(patient)
        except ErrUnsupported as exc:
            return Finding(*place, "refused", "absent", exc.message)
        except StorageError as exc:
            return Finding(*place, "error", "broken", str(exc))
        return Finding(*place, "ignored", "broken", "not promised, yet taken without a word")
    try:
        found = check.holds(patient)
    except ErrUnsupported as exc:
        # what is no capability may still be refused, as long as it is said
        refused: Literal["absent", "broken"] = (
            "absent" if check.capability == "contract" else "broken"
        )
        return Finding(*place, "refused", refused, str(exc))
    except Differs as exc:
        return Finding(*place, "no", "broken", str(exc))
    except (StorageError, OSError) as exc:
        return Finding(*place, "error", "broken", str(exc))
    return Finding(*place, found or "yes", "info" if check.info else "holds")
