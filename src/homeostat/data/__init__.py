"""Data sets, readers for a user's own arrays, and checks: NumPy only."""

from ._calendar import Calendar as Calendar
from ._checks import (
    GREY_LEVELS as GREY_LEVELS,
    AbstractRequirement as AbstractRequirement,
    Categories as Categories,
    Counts as Counts,
    Finite as Finite,
    GreyValues as GreyValues,
    Interval as Interval,
    Nonempty as Nonempty,
    OrMissing as OrMissing,
    UnitInterval as UnitInterval,
    check_rows as check_rows,
    require_shape as require_shape,
)
from ._cifar10 import load_cifar10 as load_cifar10
from ._continued import ContinuedSequences as ContinuedSequences, split_ends as split_ends
from ._download import Progress as Progress, RemoteFile as RemoteFile, fetch as fetch
from ._dsprites import DSpritesArchive as DSpritesArchive, read_dsprites as read_dsprites
from ._frames import Frames as Frames
from ._kth import load_kth as load_kth
from ._mnist import load_binarized_mnist as load_binarized_mnist, load_mnist as load_mnist
from ._moments import ColumnMoments as ColumnMoments, column_moments as column_moments
from ._moving_digits import Bouncing as Bouncing, MovingDigits as MovingDigits, load_moving_mnist as load_moving_mnist
from ._music import load_polyphonic_music as load_polyphonic_music
from ._natural_video import load_natural_video as load_natural_video
from ._newsgroups import load_newsgroups20 as load_newsgroups20
from ._omniglot import load_omniglot as load_omniglot
from ._open_rows import open_rows as open_rows
from ._open_sequences import (
    Rolls as Rolls,
    SequenceFormat as SequenceFormat,
    holds_sequences as holds_sequences,
    open_sequences as open_sequences,
)
from ._open_table import ArrowStream as ArrowStream
from ._order import permutation as permutation
from ._places import Message as Message, data_cache_folder as data_cache_folder
from ._preprocessing import (
    AbstractDequantization as AbstractDequantization,
    ClippedDequantization as ClippedDequantization,
    UniformDequantization as UniformDequantization,
    binarize as binarize,
    dequantize as dequantize,
)
from ._rcv1 import load_rcv1 as load_rcv1
from ._rows import AbstractRows as AbstractRows, ArrayRows as ArrayRows, SparseRows as SparseRows
from ._scaled import (
    ScaledSequences as ScaledSequences,
    Standardization as Standardization,
    action_moments as action_moments,
    sequence_moments as sequence_moments,
)
from ._sequence_arrays import (
    Clips as Clips,
    SequenceArrays as SequenceArrays,
    averaged_frames as averaged_frames,
    sequence_arrays as sequence_arrays,
)
from ._sequence_batches import (
    AbstractCropping as AbstractCropping,
    Crop as Crop,
    FullLength as FullLength,
    PaddedBatch as PaddedBatch,
    Pieces as Pieces,
    Windows as Windows,
    num_batches as num_batches,
    sequence_batches as sequence_batches,
    whole_batches as whole_batches,
)
from ._sequence_splits import (
    SequenceSplits as SequenceSplits,
    split_sequences as split_sequences,
    standardized as standardized,
)
from ._sequences import AbstractSequences as AbstractSequences, Sequence as Sequence, Sequences as Sequences
from ._sound import Sound as Sound, SoundSequences as SoundSequences, read_sound as read_sound
from ._splits import (
    Source as Source,
    Split as Split,
    SplitIndices as SplitIndices,
    Splits as Splits,
    split_rows as split_rows,
)
from ._spoken_digits import load_spoken_digits as load_spoken_digits
from ._svhn import load_svhn as load_svhn
from ._synthetic import (
    bouncing_squares as bouncing_squares,
    consecutive_splits as consecutive_splits,
    synthetic_melodies as synthetic_melodies,
    synthetic_tones as synthetic_tones,
)
from ._table_columns import TableColumns as TableColumns
from ._timit import load_timit as load_timit
