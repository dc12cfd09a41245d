"""NIST SPHERE files, the format of TIMIT's recordings."""

from pathlib import Path

import numpy as np

from ..results import BadInputError

SPHERE_MARK = b"NIST_1A\n"


def read_sphere(file: Path) -> tuple[np.ndarray, int]:
    """Samples of shape (samples, channels), whole numbers of 16 bits, and the samples a second.

    The header is text: the mark, the header's size in bytes, then lines `name -type value` up to `end_head`.

    Raises:
        BadInputError: compressed samples, or samples of another size.
        ValueError: the file is damaged.

    References:
        National Institute of Standards and Technology, SPHERE: header of the sample files of the TIMIT CD-ROM.
    """
    content = file.read_bytes()
    size = int(content[len(SPHERE_MARK) : len(SPHERE_MARK) + 8])
    fields = {}
    for line in content[:size].decode("ascii", "replace").splitlines()[2:]:
        if line.strip() == "end_head":
            break
        name, kind, value = line.split(maxsplit=2)
        fields[name] = int(value) if kind == "-i" else value.strip()
    coding = str(fields.get("sample_coding", "pcm"))
    if coding != "pcm" or fields["sample_n_bytes"] != 2:
        raise BadInputError(
            f"Expected samples of 16 bits that are not compressed in {file}, got {fields['sample_n_bytes']} bytes coded as "
            f"{coding}: convert the file to .wav first."
        )
    order = "<" if fields.get("sample_byte_format", "01") == "01" else ">"
    channels, count = int(fields.get("channel_count", 1)), int(fields["sample_count"])
    samples = np.frombuffer(content[size:], f"{order}i2", count * channels)
    return samples.astype(np.int16).reshape(count, channels), int(fields["sample_rate"])
