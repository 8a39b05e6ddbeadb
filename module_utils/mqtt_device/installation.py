"""Installs the client of a device as a whole, and rolls back unless its own messages prove that it works.

All of this runs on the device, so that it rolls back even if it loses its connection to the controller.
"""

from __future__ import annotations

import grp
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .commands import DeviceError, read, run, write
from .identity import CURRENT, NEXT, certificate_key, public_key
from .layout import Layout
from .release import check_configuration, install_release, named_release, prune_releases
from .service import Service, State, wait_until

CONFIGURATION, CA, CERTIFICATE, KEY, UNIT = "client.json", "ca.crt", "client.crt", "client.key", "mqtt-client.service"
SETTINGS = (CA, CERTIFICATE, KEY, CONFIGURATION)
MODES = {UNIT: 0o644}
# This file exists while the installed client is unproven; `previous` then still holds the last proven one.
UNPROVEN = "unproven"
# States that systemd does not restart from: stopped, or ended by its configuration.
STOPPED = ("inactive", "failed")

Files = dict[str, str]


@dataclass(frozen=True)
class Wanted:
    """The client to install.

    Attributes:
        client_id: names the client in errors.
        ca, certificate, configuration, unit: contents of the files.
        release: name of the release that the unit runs.
        archive: the release's archive on the device; needed unless it is installed.
        archive_digest: SHA-256 of the archive on the controller, in hex.
        timeout: seconds for the client to connect and have a message acknowledged.
        needs_message: whether it sends messages by itself, one of which has to be acknowledged.
        group: group that may use the client's socket; "": none.
        metrics_link: link to the metrics for node_exporter; None: no link.
        metrics_file: where the client writes its metrics.
    """

    client_id: str
    ca: str
    certificate: str
    configuration: str
    unit: str
    release: str
    archive: Path | None
    archive_digest: str | None
    timeout: float
    needs_message: bool
    group: str
    metrics_link: Path | None
    metrics_file: Path


def deploy(layout: Layout, service: Service, wanted: Wanted, check_mode: bool) -> dict[str, Any]:
    """Install the client and wait for its proof; without proof, roll back.

    Returns:
        `{"changed", "connected", "status", "release", "diff"}`. `connected` may be false where nothing was changed.

    Raises:
        DeviceError: it cannot be installed, or did not prove itself; the line names the release installed now.
    """
    before = installed(layout)
    after = _after(layout, wanted, before, check_mode)
    state = service.state()
    missing = wanted.release not in layout.installed_releases()
    around = _outside(wanted)
    changed = before != after or missing or state.active in STOPPED or not state.enabled or bool(around)
    result = {"changed": changed, "release": wanted.release, "diff": _diff(before, after)}
    if check_mode:
        return {**result, "connected": state.connected, "status": state.status}
    if changed:
        _prepare(layout, wanted, after)
        state = _replace(layout, service, wanted, after)
        prune_releases(layout, {wanted.release, *_kept(layout)})
    elif not state.connected:
        state = wait_until(service, lambda now: now.connected, wanted.timeout)
    if _proven(state, wanted.needs_message):
        _settle(layout)
    return {**result, "connected": state.connected, "status": state.status}


def roll_back(layout: Layout, service: Service, timeout: float, check_mode: bool) -> dict[str, Any]:
    """Return to the previously installed client, if there was one.

    Returns:
        `{"changed", "connected", "status", "release"}`; `release` is None where there was none.
    """
    files = _previous(layout)
    release = named_release(files.get(UNIT))
    if not files or check_mode:
        state = service.state()
        return {"changed": bool(files), "release": release, "connected": state.connected, "status": state.status}
    _set_key_aside(layout, files)
    _write_all(layout, files)
    if (layout.settings / UNPROVEN).exists():
        (layout.settings / UNPROVEN).unlink()
    state = _restart(service, timeout, needs_message=False)
    return {"changed": True, "release": release, "connected": state.connected, "status": state.status}


def _set_key_aside(layout: Layout, files: Files) -> None:
    """Keep a newer key, whose certificate is issued, for the next attempt."""
    key, following = layout.settings / KEY, layout.settings / f"{NEXT}.key"
    content = read(key)
    if content is None or content == files.get(KEY) or following.exists():
        return
    write(following, content, 0o400)
    (layout.settings / f"{CURRENT}.csr").replace(layout.settings / f"{NEXT}.csr")


def installed(layout: Layout) -> Files:
    """The installed files: `{name: content}`."""
    found = {name: read(layout.settings / name) for name in SETTINGS}
    found[UNIT] = read(layout.unit)
    return {name: content for name, content in found.items() if content is not None}


def _after(layout: Layout, wanted: Wanted, before: Files, check_mode: bool) -> Files:
    files = {CA: wanted.ca, CERTIFICATE: wanted.certificate, CONFIGURATION: wanted.configuration, UNIT: wanted.unit}
    if check_mode:
        # Check mode may have no certificate or key yet.
        return {**before, **{name: content for name, content in files.items() if content}}
    return {**files, KEY: _key_of(layout, wanted)}


def _key_of(layout: Layout, wanted: Wanted) -> str:
    """The private key that the certificate was issued for."""
    expected = certificate_key(wanted.certificate)
    for name in (CURRENT, NEXT):
        path = layout.settings / f"{name}.key"
        content = read(path)
        if content is not None and public_key(path) == expected:
            return content
    raise DeviceError(
        f"{wanted.client_id}: the certificate on the controller is for another private key than the device's: deploy "
        "again without --limit"
    )


def _outside(wanted: Wanted) -> list[str]:
    """What is missing outside the client's own files."""
    missing = []
    if wanted.group and wanted.group not in {each.gr_name for each in grp.getgrall()}:
        missing.append("group")
    if wanted.metrics_link and not wanted.metrics_link.is_symlink():
        missing.append("metrics")
    return missing


def _prepare(layout: Layout, wanted: Wanted, after: Files) -> None:
    """Everything that can be done, and can fail, while the installed client keeps running."""
    install_release(layout, wanted.release, wanted.archive, wanted.archive_digest)
    staged = layout.settings / "staged"
    if staged.exists():
        shutil.rmtree(staged)
    staged.mkdir(mode=0o700)
    try:
        for name in SETTINGS:
            write(staged / name, after[name], 0o400)
        for name, path in _own_credentials(wanted.unit):
            (staged / name).symlink_to(path)
        check_configuration(layout, wanted.release, staged)
    finally:
        shutil.rmtree(staged)
    missing = _outside(wanted)
    if "group" in missing:
        run(["groupadd", "--system", wanted.group], "create the group, or name another")
    if wanted.metrics_link and "metrics" in missing:
        if wanted.metrics_link.exists() or not wanted.metrics_link.parent.is_dir():
            raise DeviceError(
                f"{wanted.metrics_link}: another file is there, or its folder is missing: correct the folder of "
                "node_exporter's textfile collector"
            )
        wanted.metrics_link.symlink_to(wanted.metrics_file)


def _own_credentials(unit: str) -> list[tuple[str, Path]]:
    """Credentials of the unit, as (name, file), that the device has to have already.

    Raises:
        DeviceError: one is missing.
    """
    found = re.findall(r"^LoadCredential=([^:\n]+):(.+)$", unit, re.MULTILINE)
    own = [(name, Path(path)) for name, path in found if name not in SETTINGS]
    for name, path in own:
        if not path.is_file():
            raise DeviceError(f"{name}: the file {path} is missing on the device: put it there")
    return own


def _replace(layout: Layout, service: Service, wanted: Wanted, after: Files) -> State:
    _keep(layout, installed(layout))
    write(layout.settings / UNPROVEN, "", 0o400)
    _write_all(layout, after)
    state = _restart(service, wanted.timeout, wanted.needs_message)
    if not _proven(state, wanted.needs_message):
        raise DeviceError(_rolled_back(layout, service, wanted, state))
    return state


def _settle(layout: Layout) -> None:
    """Mark the installed client as proven; its key is now the current one."""
    following = layout.settings / f"{NEXT}.key"
    if following.exists() and read(following) == read(layout.settings / KEY):
        # The signing request first: one without its key is ignored.
        (layout.settings / f"{NEXT}.csr").replace(layout.settings / f"{CURRENT}.csr")
        following.unlink()
    if (layout.settings / UNPROVEN).exists():
        (layout.settings / UNPROVEN).unlink()


def _rolled_back(layout: Layout, service: Service, wanted: Wanted, state: State) -> str:
    """Roll back; return a line with the problem and the release that is installed now."""
    expected = "a connection and a message acknowledged" if wanted.needs_message else "a connection"
    found = f"{wanted.client_id}: release {wanted.release}: found {state.in_words()}, expected {expected} within " + (
        f"{wanted.timeout:.0f} s"
    )
    back = roll_back(layout, service, wanted.timeout, check_mode=False)
    if not back["changed"]:
        return f"{found}: there is no earlier release, it keeps trying: see 'journalctl -u mqtt-client'"
    if back["connected"]:
        return f"{found}: rolled back to release {back['release']}, which is connected: see 'journalctl -u mqtt-client'"
    return (
        f"{found}: rolled back to release {back['release']}, which is not connected either: "
        "check the endpoint and the device's network"
    )


def _restart(service: Service, timeout: float, needs_message: bool) -> State:
    old = service.state().process
    service.reload()
    service.restart()
    state = wait_until(service, lambda now: now.process not in (0, old) and _proven(now, needs_message), timeout)
    if state.process and state.process == old:
        # The status of the old process proves nothing about the installed client.
        return replace(state, status=f"not restarted, still process {old}")
    return state


def _proven(state: State, needs_message: bool) -> bool:
    return state.connected and (state.acknowledged > 0 or not needs_message)


def _keep(layout: Layout, files: Files) -> None:
    """Keep the installed files for a rollback, unless they are unproven themselves."""
    if (layout.settings / UNPROVEN).exists():
        return
    if layout.previous.exists():
        shutil.rmtree(layout.previous)
    if UNIT not in files:
        return
    layout.previous.mkdir(mode=0o700)
    for name, content in files.items():
        write(layout.previous / name, content, 0o400)


def _previous(layout: Layout) -> Files:
    found = {name: read(layout.previous / name) for name in (*SETTINGS, UNIT)}
    return {name: content for name, content in found.items() if content is not None}


def _kept(layout: Layout) -> set[str]:
    release = named_release(_previous(layout).get(UNIT))
    return {release} if release else set()


def _write_all(layout: Layout, files: Files) -> None:
    for name, content in files.items():
        path = layout.unit if name == UNIT else layout.settings / name
        write(path, content, MODES.get(name, 0o400))


def _diff(before: Files, after: Files) -> list[dict[str, str]]:
    """The changes, for Ansible to show; a private key is not shown."""
    diffs = []
    for name in sorted({*before, *after}):
        old, new = before.get(name, ""), after.get(name, "")
        if old == new:
            continue
        if name == KEY:
            old, new = ("a private key\n" if old else ""), "the private key that the certificate was issued for\n"
        diffs.append({"before_header": name, "after_header": name, "before": old, "after": new})
    return diffs
