"""What happens before a job may start: packages are checked, asked for, installed, checked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from DSAReconWidgets.install import Installer, InstallResult, Missing
from DSAReconWidgets.outcome import JobState, Outcome
from DSAReconWidgets.requirements import Needs

if TYPE_CHECKING:
    from DSAReconWidgets.controller import Notifier


class Preparation:
    """One way from "is it there?" to "go on" or the reason why not.

    Parameters
    ----------
    installer, notifier
        Who checks and installs, and who asks the user.
    needs
        What has to be there.
    proceed
        Called once: ``None`` = everything is there, else the outcome of whoever waits.
    isWanted
        Whether somebody still waits.
    """

    def __init__(
        self,
        installer: Installer,
        notifier: Notifier,
        needs: Needs,
        proceed: Callable[[Outcome | None], None],
        isWanted: Callable[[], bool],
    ) -> None:
        self._installer, self._notifier, self._needs = installer, notifier, needs
        self._proceed, self._isWanted = proceed, isWanted

    def start(self) -> None:
        """Begin; the installer must be idle."""
        if self._installer.isKnownGood(self._needs):
            self._proceed(None)
        else:
            self._installer.check(self._needs, self._onChecked)

    def _onChecked(self, missing: Missing) -> None:
        if not self._isWanted():
            self._proceed(Outcome(JobState.CANCELLED))
        elif missing.isNothing:
            self._proceed(None)
        elif missing.problem:
            self._fail("dependency.check", missing.problem, _diagnoseHint())
        elif self._agreed(missing) and self._isWanted():
            self._installer.install(missing, self._onInstalled)
        else:
            self._proceed(Outcome(JobState.CANCELLED))

    def _onInstalled(self, result: InstallResult) -> None:
        if result.isGood:
            self._installer.check(self._needs, self._onCheckedAgain)
        elif result.cancelled:
            self._proceed(Outcome(JobState.CANCELLED))
        else:
            self._fail("dependency.install", result.message, result.hint)

    def _onCheckedAgain(self, missing: Missing) -> None:
        if missing.isNothing:
            self._proceed(None)
        else:
            message = missing.problem or _("Still missing after the installation: {names}.").format(names=missing.names)
            self._fail("dependency.missing", message, _diagnoseHint())

    def _fail(self, code: str, message: str, hint: str) -> None:
        self._proceed(Outcome(JobState.FAILED, code=code, message=message, hint=hint))

    def _agreed(self, missing: Missing) -> bool:
        text = _("To reconstruct, DSARecon needs: {names}.").format(names=missing.names)
        broken = "".join(f"\n{name}: {reason}" for name, reason in missing.broken)
        if broken:
            text += "\n\n" + _("Installed, but not usable:") + broken
        text += "\n\n" + _("They are downloaded from the Python Package Index; packages of Slicer stay as they are.")
        return self._notifier.confirm(_("Install packages?"), text)


def _diagnoseHint() -> str:
    return _("Run the self-diagnosis; it shows what Slicer's Python lacks.")
