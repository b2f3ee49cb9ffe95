"""What the graph of a SavedModel does besides computing, read before it is loaded.

A SavedModel is a program. Its initializers run when it is loaded, its signatures when it is called,
and the operators below read, write, reach the network, run Python or end the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

# Names of TensorFlow 2.21. V2 and so on, and the older "Experimental", are added to each.
OPERATORS = """
reads files: ReadFile MatchingFiles MatchingFilesDataset WholeFileReader TextLineReader
reads files: TextLineDataset FixedLengthRecordReader FixedLengthRecordDataset TFRecordReader
reads files: TFRecordDataset LMDBReader LMDBDataset CSVDataset SqlDataset RecordInput Restore
reads files: RestoreSlice DTensorRestore LoadDataset SnapshotDatasetReader ImportEvent
reads files: SnapshotNestedDatasetReader LoadAndRemapMatrix
writes files: WriteFile Save SaveSlices MergeV2Checkpoints SaveDataset DatasetToTFRecord
writes files: CacheDataset Snapshot SnapshotDataset CreateSummaryFileWriter CreateSummaryDbWriter
writes files: DumpTensor DebugIdentity DebugNanCount DebugNumericSummary DistributedSave
writes files: FileSystemSetConfiguration
reaches other programs: RpcServer RpcClient RpcCall RpcServerStart RpcServerRegister
reaches other programs: DataServiceDataset RegisterDataset RemoteCall
runs Python code: PyFunc PyFuncStateless EagerPyFunc
ends the process: Abort
"""
LINES = [line.split(": ") for line in OPERATORS.strip().splitlines()]
WHAT = {name: what for what, names in LINES for name in names.split()}
PLAIN_STREAMS = (b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)")


def suspicious_operators(folder: Path) -> list[str]:
    """List the operators of a SavedModel that do more than compute, each once, and say what.

    The functions that every SavedModel has for its own variables may save and restore them.

    Raises:
        google.protobuf.message.DecodeError: the file of the graph is damaged.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    found: dict[str, None] = {}
    for graph in saved.meta_graphs:
        found |= dict.fromkeys(_outside_assets(graph))
        functions = {each.signature.name: each for each in graph.graph_def.library.function}
        saver = graph.saver_def
        own = {
            "SaveV2": _reached(graph, functions, saver.save_tensor_name),
            "RestoreV2": _reached(graph, functions, saver.restore_op_name),
        }
        own["MergeV2Checkpoints"] = own["SaveV2"]
        assets = {each.tensor_info.name.partition(":")[0] for each in graph.asset_file_def}
        bodies = {"": graph.graph_def.node} | {
            name: each.node_def for name, each in functions.items()
        }
        for name, nodes in bodies.items():
            for node in nodes:
                if name in own.get(node.op, ()):
                    continue
                found |= dict.fromkeys(_judge(node, nodes, assets if not name else set()))
    return list(found)


def _judge(node: Any, nodes: Iterable[Any], assets: set[str]) -> Iterator[str]:
    known = node.op.removeprefix("Experimental")
    while known and known not in WHAT and known[-2:-1] == "V" and known[-1].isdigit():
        known = known[:-2]
    if known in WHAT:
        yield f"{node.op} ({WHAT[known]})"
    elif node.op == "PrintV2" and node.attr["output_stream"].s not in PLAIN_STREAMS:
        if node.attr["output_stream"].s:
            yield "PrintV2 (writes files)"
    elif known == "InitializeTableFromTextFile":
        source = node.input[1].partition(":")[0]
        given = {each.name for each in nodes if each.op == "Const"}
        if source in given - assets:
            yield f"{node.op} (reads a file that is no asset)"


def _outside_assets(graph: Any) -> Iterator[str]:
    for asset in graph.asset_file_def:
        name = PurePosixPath(asset.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            yield f"the asset {asset.filename!r} (a file outside the folder)"


def _reached(graph: Any, functions: dict[str, Any], tensor: str) -> set[str]:
    """Return the functions that one node of the graph calls, and those that these call."""
    name = tensor.partition(":")[0]
    pending = [node for node in graph.graph_def.node if node.name == name]
    reached: set[str] = {""} if pending else set()
    while pending:
        for attribute in pending.pop().attr.values():
            called = attribute.func.name
            if called in functions and called not in reached:
                reached.add(called)
                pending += functions[called].node_def
    return reached
