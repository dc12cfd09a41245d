"""Training loops that survive `kill -9`, and the checkpoints and records they leave."""

from ._checkpoint import (
    Checkpoint as Checkpoint,
    has_checkpoint as has_checkpoint,
    load_checkpoint as load_checkpoint,
    remove_checkpoint as remove_checkpoint,
    save_checkpoint as save_checkpoint,
)
from ._fit import DataPosition as DataPosition, FitState as FitState, fit as fit
from ._keeper import (
    AbstractKeeper as AbstractKeeper,
    CheckpointKeeper as CheckpointKeeper,
    Forgetful as Forgetful,
    LoopCheckpoint as LoopCheckpoint,
    SegmentReport as SegmentReport,
)
from ._loop import LoopResult as LoopResult, run_loop as run_loop
from ._loss_descent import (
    LossDescent as LossDescent,
    LossDescentState as LossDescentState,
    LossMetrics as LossMetrics,
)
from ._record import (
    JsonLines as JsonLines,
    plain as plain,
    read_json_lines as read_json_lines,
    write_bytes as write_bytes,
    write_json as write_json,
    write_text as write_text,
)
from ._state import PackedTree as PackedTree, pack_tree as pack_tree, unpack_tree as unpack_tree
