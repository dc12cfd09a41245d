"""One training loop that survives `kill -9`, its loaders, and the checkpoints and records it leaves.

result = fit(learner, InMemoryLoader(rows, batch_size=64), num_steps=10_000, key=key)
result = fit(
    learner,                        # an AbstractLearner: init(key=), update(state, batch, key=)
    StreamingLoader(batches, n),    # or InMemoryLoader(rows, size), FullBatch(data), an AbstractLoader of yours
    num_steps=10_000,
    key=key,
    every=100,                      # updates in a compiled segment
    validate=lambda state, key: held_out_nats(state.learned, key),
    validate_every=500,             # the state with the lowest value is kept beside the newest
    patience=10,                    # validations without improvement that end training
    callback=Checkpointer(path),    # NoCallback() by default
)
result.state                        # the best by validation, or the last; result.step: updates it has seen
result.steps, result.history        # means of the learner's metrics over each segment
result.validation_steps, result.validation_nats
result.failure, result.out_of_patience, result.last_step

save_checkpoint(path, tree); load_checkpoint(path, like=tree_of_the_same_structure)
"""

from ._callback import (
    AbstractLoopCallback as AbstractLoopCallback,
    Checkpointer as Checkpointer,
    LoopCheckpoint as LoopCheckpoint,
    NoCallback as NoCallback,
    SegmentReport as SegmentReport,
)
from ._checkpoint import load_checkpoint as load_checkpoint, save_checkpoint as save_checkpoint
from ._fit import FitResult as FitResult, fit as fit
from ._loader import (
    AbstractLoader as AbstractLoader,
    FullBatch as FullBatch,
    InMemoryLoader as InMemoryLoader,
    StreamingLoader as StreamingLoader,
)
from ._record import (
    JsonLines as JsonLines,
    plain as plain,
    read_json_lines as read_json_lines,
    replacing as replacing,
    write_bytes as write_bytes,
    write_json as write_json,
    write_text as write_text,
)
from ._tree import is_self_describing as is_self_describing
