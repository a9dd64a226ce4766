"""Small files in the real formats, and a mirror on this machine to download them from."""

import gzip
import hashlib
import io
import pickle
import socket
import struct
import tarfile
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

STEMS = {"train": "train", "test": "t10k"}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Points every download to a port where nobody listens, and hides Debian's Fashion-MNIST."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setenv("no_proxy", "*")
    for source in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        monkeypatch.setattr(source, "mirrors", [nowhere])
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"{nowhere}cifar-10-python.tar.gz")
    monkeypatch.setattr("pipeline.data.sources.user_data.DEBIAN_FASHION_MNIST", tmp_path / "no-debian")


@pytest.fixture
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    """Returns the content of an IDX file."""
    return lambda array: struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def write_idx(idx_bytes: Callable[[np.ndarray], bytes]) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Writes one part as MNIST has it; labels 0 to 9 in turn unless given. Returns pixels and labels."""

    def write(
        folder: Path, part: str = "train", *, packed: bool = False, num_images: int = 20, labels: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.random.default_rng(num_images).integers(0, 256, (num_images, 28, 28), dtype=np.uint8)
        labels = np.asarray(np.arange(num_images) % 10 if labels is None else labels, np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            file = folder / f"{STEMS[part]}-{kind}-ubyte"
            if packed:
                file.with_suffix(".gz").write_bytes(gzip.compress(idx_bytes(array)))
            else:
                file.write_bytes(idx_bytes(array))
        return pixels, labels

    return write


_save_global: Callable[..., None] = pickle._Pickler.dispatch[types.FunctionType]


class _Python2Pickler(pickle._Pickler):
    """Writes text and bytes alike as Python 2's str, and NumPy's names as they were then."""

    dispatch: ClassVar[dict[type, Callable[..., None]]] = {**pickle._Pickler.dispatch}
    write: Callable[[bytes], object]
    memoize: Callable[[object], None]

    def save_str(self, value: str | bytes) -> None:
        content = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_str

    def save_global(self, value: Any, name: str | None = None) -> None:
        if name == "_reconstruct":
            self.write(pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n")
            self.memoize(value)
        else:
            _save_global(self, value, name)

    dispatch[type] = save_global


@pytest.fixture
def pickled_by_python2() -> Callable[[object], bytes]:
    def pickled(value: object) -> bytes:
        file = io.BytesIO()
        _Python2Pickler(file, protocol=2).dump(value)
        return file.getvalue()

    return pickled


@pytest.fixture
def write_cifar10(pickled_by_python2: Callable[[object], bytes]) -> Callable[[Path], np.ndarray]:
    """Writes all six batches of 10 images each, one a class. Returns the training pixels."""

    def write(folder: Path) -> np.ndarray:
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
        for start, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
            batch = {
                "batch_label": name,
                "labels": list(range(10)),
                "data": pixels[10 * start : 10 * (start + 1)],
                "filenames": [f"{name}_{row}.png" for row in range(10)],
            }
            (folder / name).write_bytes(pickled_by_python2(batch))
        return pixels[:50].reshape(-1, 3, 32, 32)

    return write


@pytest.fixture
def write_images() -> Callable[[Path, dict[str, int]], None]:
    """Writes so many one-colored images into each folder; the n-th has the color (n, 2n, 255 - n)."""

    def write(root: Path, folders: dict[str, int]) -> None:
        for folder, num_images in folders.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for row in range(num_images):
                Image.new("RGB", (12, 9), (row, 2 * row, 255 - row)).save(root / folder / f"{row:03}.png")

    return write


@dataclass
class Mirror:
    """An HTTP server on this machine.

    Attributes:
        folder: What it serves.
        url: Its address, with a slash at the end.
        requests: The paths it was asked for.
        answer: What it answers instead of a file, if anything.
    """

    folder: Path
    url: str = ""
    requests: list[str] = field(default_factory=list)
    answer: bytes | None = None


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, mirror: Mirror) -> None:
        self.mirror = mirror
        super().__init__(*arguments, directory=str(mirror.folder))

    def do_GET(self) -> None:
        self.mirror.requests.append(self.path)
        if self.mirror.answer is None:
            super().do_GET()
        else:
            self.wfile.write(self.mirror.answer)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path / "mirror")
    mirror.folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, mirror=mirror)) as server:
        mirror.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield mirror
        server.shutdown()
        thread.join()


@pytest.fixture
def mnist_mirror(
    mirror: Mirror, write_idx: Callable[..., tuple[np.ndarray, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> Mirror:
    """A mirror with small files in place of MNIST's and Fashion-MNIST's, which torchvision knows the checksums of."""
    write_idx(mirror.folder, "train", packed=True, num_images=40)
    write_idx(mirror.folder, "test", packed=True, num_images=10)
    resources = [
        (f"{stem}-{kind}-ubyte.gz", _md5(mirror.folder / f"{stem}-{kind}-ubyte.gz"))
        for stem in STEMS.values()
        for kind in ("images-idx3", "labels-idx1")
    ]
    for source in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        monkeypatch.setattr(source, "mirrors", [mirror.url])
        monkeypatch.setattr(source, "resources", resources)
    return mirror


@pytest.fixture
def cifar10_mirror(
    mirror: Mirror,
    write_cifar10: Callable[[Path], np.ndarray],
    pickled_by_python2: Callable[[object], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Mirror:
    """A mirror with a small archive in place of CIFAR-10's, which torchvision knows the checksum of."""
    folder, archive = mirror.folder / "cifar-10-batches-py", mirror.folder / "cifar-10-python.tar.gz"
    write_cifar10(folder)
    (folder / "batches.meta").write_bytes(pickled_by_python2({"label_names": ["airplane"]}))
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    source = torchvision.datasets.CIFAR10
    for name in ("train_list", "test_list"):
        files = [[file, _md5(folder / file)] for file, _ in getattr(source, name)]
        monkeypatch.setattr(source, name, files)
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": _md5(folder / "batches.meta")})
    monkeypatch.setattr(source, "tgz_md5", _md5(archive))
    monkeypatch.setattr(source, "url", mirror.url + archive.name)
    return mirror


def _md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()
