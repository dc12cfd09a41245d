"""Data sets, readers for a user's own arrays, and checks: NumPy only."""

from ._checks import (
    AbstractRequirement as AbstractRequirement,
    Categories as Categories,
    Counts as Counts,
    Finite as Finite,
    GreyValues as GreyValues,
    Interval as Interval,
    Nonempty as Nonempty,
    UnitInterval as UnitInterval,
    check_rows as check_rows,
    require_shape as require_shape,
)
from ._cifar10 import load_cifar10 as load_cifar10
from ._download import (
    DownloadProgress as DownloadProgress,
    Progress as Progress,
    RemoteFile as RemoteFile,
    fetch as fetch,
)
from ._dsprites import (
    DSpritesArchive as DSpritesArchive,
    dsprites_index as dsprites_index,
    find_dsprites as find_dsprites,
    read_dsprites as read_dsprites,
)
from ._image_rows import ImageRows as ImageRows
from ._mnist import load_binarized_mnist as load_binarized_mnist, load_mnist as load_mnist
from ._newsgroups import load_newsgroups20 as load_newsgroups20
from ._omniglot import load_omniglot as load_omniglot
from ._open_rows import Message as Message, open_rows as open_rows
from ._order import permutation as permutation
from ._places import data_cache_folder as data_cache_folder
from ._preprocessing import (
    AbstractDequantization as AbstractDequantization,
    ClippedDequantization as ClippedDequantization,
    UniformDequantization as UniformDequantization,
    binarize as binarize,
    dequantize as dequantize,
)
from ._rcv1 import load_rcv1 as load_rcv1
from ._rows import AbstractRows as AbstractRows, ArrayRows as ArrayRows, SelectedRows as SelectedRows
from ._sparse_rows import SparseRows as SparseRows
from ._splits import (
    Source as Source,
    Split as Split,
    SplitIndices as SplitIndices,
    Splits as Splits,
    TrainValidation as TrainValidation,
    split_rows as split_rows,
    train_validation_split as train_validation_split,
)
from ._svhn import load_svhn as load_svhn
