"""One encoded frame into stored values, each transfer syntax by the decoder that the golden files chose.

| encoding | decoder |
|---|---|
| JPEG baseline, extended 8 bit, progressive | simplejpeg (libjpeg-turbo) |
| JPEG lossless, extended 12 bit | GDCM |
| JPEG-LS | CharLS (pyjpegls) |
| JPEG 2000 | OpenJPEG (pylibjpeg-openjpeg) |
| RLE | Pillow's PackBits, bounded by the size that the header claims |
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from core.errors import NotDiagnostic
from core.states import Reason
from dicom_node.codestreams import JPEG_LS, LOSSLESS_JPEG, Codestream, read_jpeg, read_jpeg2000
from dicom_node.pixel_header import PixelHeader

Encoded = bytes | memoryview
_RLE_HEADER_BYTES = 64  # PS3.5 G.5
_EOI = b"\xff\xd9"
_LOSSY_BITS = frozenset({8, 12})  # T.81 Table B.2: what DCT processes may hold


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Stored values of one frame, (rows, columns) or (rows, columns, 3), signed where the header says so.

    `photometric` is what they mean after decoding: RGB where the decoder has undone the colour transform.
    """

    values: NDArray[Any]
    photometric: str
    bits: int


def decode_frame(encoded: Encoded, header: PixelHeader) -> Stored:
    """Decode one frame. Raises NotDiagnostic where the stream contradicts the header or has no decoder."""
    syntax = header.transfer_syntax
    if not syntax.is_encapsulated:
        return _native(encoded, header)
    decode = _DECODERS.get(syntax)
    if decode is None:
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, f"transfer syntax {syntax} is not read")
    return decode(bytes(encoded), header)


def _native(encoded: Encoded, header: PixelHeader) -> Stored:
    if header.bits_allocated == 1:
        count = header.rows * header.columns * header.samples
        values = np.unpackbits(np.frombuffer(encoded, np.uint8), bitorder="little")[:count]
        return Stored(values.reshape(header.rows, header.columns), header.photometric, 1)
    order = ">" if header.big_endian else "<"
    values = np.frombuffer(encoded, np.dtype(f"{order}u{header.bits_allocated // 8}"))
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if header.photometric in {"YBR_FULL_422", "YBR_PARTIAL_422"}:
        return Stored(_without_subsampling(values, header), header.photometric, header.bits_stored)
    if header.photometric == "YBR_PARTIAL_420":
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, "YBR_PARTIAL_420 outside a video")
    return Stored(_significant(_by_pixel(values, header), header), header.photometric, header.bits_stored)


def _by_pixel(values: NDArray[Any], header: PixelHeader) -> NDArray[Any]:
    if header.samples == 1:
        return values.reshape(header.rows, header.columns)
    if header.planar:
        return values.reshape(header.samples, header.rows, header.columns).transpose(1, 2, 0)
    return values.reshape(header.rows, header.columns, header.samples)


def _without_subsampling(values: NDArray[Any], header: PixelHeader) -> NDArray[Any]:
    """Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2) to one triple a pixel."""
    if header.columns % 2:
        raise NotDiagnostic(Reason.DAMAGED, "subsampled colour in rows of odd length")
    pairs = values.reshape(header.rows, header.columns // 2, 4)
    full = np.empty((header.rows, header.columns, 3), values.dtype)
    full[:, 0::2, 0], full[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    full[:, 0::2, 1:] = full[:, 1::2, 1:] = pairs[..., 2:]
    return full


def _significant(values: NDArray[Any], header: PixelHeader) -> NDArray[Any]:
    """The stored bits alone: neighbours in the same word may be overlays or rubbish (PS3.5 8.1.1)."""
    above = header.bits_allocated - header.bits_stored - header.shift
    container = np.dtype(f"{'i' if header.signed else 'u'}{values.itemsize}")
    if not above and not header.shift:
        return values.view(container)
    return (values << values.dtype.type(above)).view(container) >> container.type(above + header.shift)


def _jpeg(encoded: bytes, header: PixelHeader) -> Stored:
    stream = read_jpeg(encoded)
    _check_agrees(stream, header)
    if stream.frame_type == JPEG_LS:
        if _EOI not in encoded[-4:]:  # CharLS searches the missing rest for seconds
            raise NotDiagnostic(Reason.DAMAGED, "a JPEG-LS stream that is cut off")
        return _by_plugin("pyjpegls", encoded, header, stream)
    if stream.frame_type != LOSSLESS_JPEG and stream.bits not in _LOSSY_BITS:
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, f"lossy JPEG of {stream.bits} bits")
    if stream.bits == 8 and stream.frame_type != LOSSLESS_JPEG:
        return _jpeg_8bit(encoded, header, stream)
    return _by_gdcm(encoded, header, stream)


def _jpeg_8bit(encoded: bytes, header: PixelHeader, stream: Codestream) -> Stored:
    if stream.samples == 1:
        grey = _libjpeg(encoded, "GRAY")[..., 0]
        return Stored(_signed_as_said(grey, header, 8), header.photometric, 8)
    if _is_plain_rgb(header, stream):
        return Stored(_components(encoded), "RGB", 8)
    return Stored(_libjpeg(encoded, "RGB"), "RGB", 8)


def _libjpeg(encoded: bytes, colour: str) -> NDArray[np.uint8]:
    """Decode strictly: what libjpeg would mend with grey is damage. Only the end marker may be missing."""
    import simplejpeg  # only the decoder process needs it

    try:
        return simplejpeg.decode_jpeg(encoded, colour)
    except ValueError as error:
        if _EOI in encoded[-2:]:
            raise NotDiagnostic(Reason.DAMAGED, "a JPEG stream that libjpeg would have to mend") from error
    try:
        return simplejpeg.decode_jpeg(encoded + _EOI, colour)
    except ValueError as error:
        raise NotDiagnostic(Reason.DAMAGED, "a JPEG stream that is cut off") from error


def _is_plain_rgb(header: PixelHeader, stream: Codestream) -> bool:
    """RGB that carries no mark of it: libjpeg would take it for YCbCr. JFIF is YCbCr, whatever the header says."""
    return header.photometric == "RGB" and stream.adobe_transform is None and not stream.jfif


def _components(encoded: bytes) -> NDArray[np.uint8]:
    """The three components of a JPEG stream as they are, without a colour transform."""
    with Image.open(BytesIO(encoded), formats=["JPEG"]) as image:
        image.draft("YCbCr", image.size)
        return np.asarray(image)


def _jpeg2000(encoded: bytes, header: PixelHeader) -> Stored:
    stream = read_jpeg2000(encoded)
    _check_agrees(stream, header)
    return _by_plugin("pylibjpeg", encoded, header, stream)


def _by_plugin(plugin: str, encoded: bytes, header: PixelHeader, stream: Codestream) -> Stored:
    values, properties = get_decoder(header.transfer_syntax).as_array(
        encapsulate([encoded]),
        raw=True,
        decoding_plugin=plugin,
        rows=header.rows,
        columns=header.columns,
        number_of_frames=1,
        samples_per_pixel=header.samples,
        photometric_interpretation=header.photometric,
        planar_configuration=int(header.planar),
        bits_allocated=header.bits_allocated,
        bits_stored=header.bits_stored,
        pixel_representation=int(header.signed),
        pixel_keyword="PixelData",
    )
    return Stored(values, str(properties["photometric_interpretation"]), stream.bits)


def _by_gdcm(encoded: bytes, header: PixelHeader, stream: Codestream) -> Stored:
    import gdcm  # only the decoder process needs it

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(encoded)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.columns, header.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(header.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(header.transfer_syntax))))
    container = 8 if stream.bits <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(header.samples, container, stream.bits, stream.bits - 1, int(header.signed)))
    # GDCM hands its char* out as str
    data = image.GetBuffer().encode("utf-8", "surrogateescape")
    return _from_container(data, container, header, stream)


def _from_container(data: bytes, container: int, header: PixelHeader, stream: Codestream) -> Stored:
    values = np.frombuffer(data, np.dtype(f"u{container // 8}"))
    if values.size != header.rows * header.columns * header.samples:
        raise NotDiagnostic(Reason.DAMAGED, "a frame decodes to another size than its header says")
    shape = (header.rows, header.columns, header.samples) if header.samples > 1 else (header.rows, header.columns)
    return Stored(_signed_as_said(values.reshape(shape), header, stream.bits), header.photometric, stream.bits)


def _signed_as_said(values: NDArray[Any], header: PixelHeader, bits: int) -> NDArray[Any]:
    if not header.signed:
        return values
    above = values.itemsize * 8 - bits
    container = np.dtype(f"i{values.itemsize}")
    return (values << values.dtype.type(above)).view(container) >> container.type(above)


def _rle(encoded: bytes, header: PixelHeader) -> Stored:
    planes = header.samples * (header.bits_allocated // 8)
    table = np.frombuffer(encoded[:_RLE_HEADER_BYTES], "<u4")
    if header.bits_allocated < 8 or len(table) < 16 or table[0] != planes or planes > 15:
        raise NotDiagnostic(Reason.DAMAGED, "an RLE frame with another number of segments than its header says")
    ends = [*map(int, table[2 : planes + 1]), len(encoded)]
    decoded = [
        _unpack(encoded[begin:end], header) for begin, end in zip(map(int, table[1 : planes + 1]), ends, strict=True)
    ]
    # PS3.5 G.2: one segment a byte, the most significant first, one sample after the other
    bytes_ = np.stack(decoded).reshape(header.samples, header.bits_allocated // 8, header.rows, header.columns)
    words = np.ascontiguousarray(bytes_.transpose(2, 3, 0, 1))
    values = words.view(f">u{header.bits_allocated // 8}")[..., 0]
    values = values.astype(values.dtype.newbyteorder("="))
    values = values[..., 0] if header.samples == 1 else values
    return Stored(_significant(values, header), header.photometric, header.bits_stored)


def _unpack(segment: bytes, header: PixelHeader) -> NDArray[np.uint8]:
    # One long row: encoders disagree whether a run may cross a row's end (PS3.5 G.3.1 says no)
    try:
        plane = Image.frombytes("L", (header.rows * header.columns, 1), segment, "packbits", "L")
    except ValueError as error:
        raise NotDiagnostic(Reason.DAMAGED, "an RLE segment ends before its last pixel") from error
    return np.asarray(plane)


def _check_agrees(stream: Codestream, header: PixelHeader) -> None:
    """A decoder trusts the stream, everything else the header: refuse what says two things."""
    said = (header.rows, header.columns, header.samples)
    found = (stream.rows, stream.columns, stream.samples)
    if said != found:
        raise NotDiagnostic(Reason.DAMAGED, f"header says rows, columns, samples {said}, the stream {found}")
    if stream.bits > header.bits_allocated:
        raise NotDiagnostic(Reason.DAMAGED, f"{stream.bits} bits in the stream, {header.bits_allocated} allocated")


_DECODERS: dict[str, Callable[[bytes, PixelHeader], Stored]] = {
    uid.JPEGBaseline8Bit: _jpeg,
    uid.JPEGExtended12Bit: _jpeg,
    uid.JPEGLossless: _jpeg,
    uid.JPEGLosslessSV1: _jpeg,
    uid.JPEGLSLossless: _jpeg,
    uid.JPEGLSNearLossless: _jpeg,
    uid.JPEG2000Lossless: _jpeg2000,
    uid.JPEG2000: _jpeg2000,
    uid.RLELossless: _rle,
}
