# SPDX-License-Identifier: Apache-2.0
"""The network on ONNX Runtime, from an exported file: TensorRT, else CUDA, else the CPU."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

from stt_ros import weights_io, zoo
from stt_ros.engines import cache
from stt_ros.engines.batching import BATCH, COARSE, FINE, BatchedEngine
from stt_ros.engines.choice import EXPORTED
from stt_ros.engines.onnx_export import INPUTS, OUTPUTS, VERSION, export
from stt_ros.errors import EngineError, WeightsError
from stt_ros.model import ModelConfig

_TENSORRT, _CUDA, _CPU = (f'{name}ExecutionProvider' for name in ('Tensorrt', 'CUDA', 'CPU'))


class OnnxEngine(BatchedEngine):
    """Runs an exported file, or exports a model of the zoo; see ``stt_ros.engines.Engine``."""

    def __init__(
        self, weights: str, device: str, precision: str, threads: int | None = None
    ) -> None:
        if precision == 'bf16':
            raise EngineError("engine 'onnxruntime' has no bf16; precisions: auto, fp32, fp16")
        wanted = _providers(device)
        exported = weights.endswith(EXPORTED)
        file = Path(weights).expanduser() if exported else _exported(weights, precision)
        metadata = _metadata(file)
        config = weights_io.parse_config(metadata['config'], file)
        _choose_precision(precision, metadata['precision'], wanted[0], file)
        half = precision != 'fp32'
        self._session = _session(
            file,
            [(name, _provider_options(name, device, config, file, half)) for name in wanted],
            threads,
        )
        provider = self._session.get_providers()[0]
        on_cpu = provider == _CPU
        if on_cpu and device.startswith('cuda'):
            raise EngineError(
                f"device '{device}': ONNX Runtime could start none of {', '.join(wanted[:-1])} "
                '(its log says why; mostly CUDA, cuDNN or TensorRT of the wrong version); '
                "use device 'cpu' or engine 'torch'"
            )
        self.precision = _choose_precision(precision, metadata['precision'], provider, file)
        short = provider.removesuffix('ExecutionProvider')
        super().__init__(
            config,
            f'{weights} ({metadata["model"]}) on {"cpu" if on_cpu else device} with onnxruntime '
            f'{ort.__version__} {short} {self.precision}',
            short,
            BATCH['cpu' if on_cpu else 'cuda'],
            FINE if on_cpu else COARSE,
        )

    def _compute(
        self, tokens: np.ndarray, valid: np.ndarray, seen: np.ndarray, best_only: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        arrays = np.ascontiguousarray(tokens[:, seen]), valid[:, seen], seen
        return self._session.run(OUTPUTS, dict(zip(INPUTS, arrays, strict=True)))

    def _free(self) -> None:
        self._session = None


def _providers(device: str) -> list[str]:
    """Return the providers to try for a device, the best first."""
    there = ort.get_available_providers()
    gpu = [name for name in (_TENSORRT, _CUDA) if name in there]
    if device.startswith('cuda') and not gpu:
        raise EngineError(
            f"device '{device}': this ONNX Runtime {ort.__version__} has {', '.join(there)} only; "
            "pip install onnxruntime-gpu (on a Jetson NVIDIA's build), or use device 'cpu'"
        )
    return [*(gpu if device != 'cpu' else []), _CPU]


def _provider_options(
    provider: str, device: str, config: ModelConfig, file: Path, half: bool
) -> dict:
    index = device.partition(':')[2] or '0'
    if provider == _CPU:
        return {}
    if provider == _CUDA:
        return {'device_id': index}
    n, size = config.pattern.num_tokens, config.pattern.token_size

    def shapes(batch: int, tokens: int) -> str:
        values = f'{batch}x{tokens}x3x{size}x{size}'
        return f'tokens:{values},valid:{batch}x{tokens},positions:{tokens}'

    key = cache.key(file, ort.__version__, str(half))
    folder = cache.folder(f'tensorrt/{key}', lambda new: None, quick=True)
    return {
        'device_id': index,
        'trt_fp16_enable': half,
        'trt_engine_cache_enable': folder is not None,
        'trt_engine_cache_path': str(folder or ''),
        'trt_profile_min_shapes': shapes(1, min(*COARSE, n)),
        'trt_profile_opt_shapes': shapes(1, n),
        'trt_profile_max_shapes': shapes(BATCH['cuda'], n),
    }


def _session(file: Path, providers: list, threads: int | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        from stt_ros.engines.torch_engine import spare_threads

        options.intra_op_num_threads = threads or spare_threads()
    # Threads that wait by spinning take the cores from the rest of the robot.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return ort.InferenceSession(str(file), options, providers=providers)


def _metadata(file: Path) -> dict[str, str]:
    """Return what the export wrote about itself; refuse what is no file of ours, or another's."""
    again = 'export it again: stt_ros export --engine onnx --weights <model> --out <file>'
    if not file.is_file():
        raise WeightsError(f'there is no exported file {file}; {again}')
    try:
        session = ort.InferenceSession(str(file), providers=[_CPU])
    except Exception as error:  # the runtime's own classes, many
        reason = (str(error).splitlines() or [''])[0]
        raise WeightsError(f'{file} is not a whole ONNX file ({reason}); {again}') from error
    metadata = session.get_modelmeta().custom_metadata_map
    version = metadata.get('stt_ros')
    if version is None or not {'model', 'precision', 'config'} <= metadata.keys():
        raise WeightsError(f'{file} is not an export of stt_ros; {again}')
    if version != VERSION:
        raise WeightsError(
            f'{file} is an export of version {version}, this stt_ros reads version {VERSION}; '
            f'{again}'
        )
    _check_ports(file, session, weights_io.parse_config(metadata['config'], file), again)
    return metadata


def _check_ports(file: Path, session, config: ModelConfig, again: str) -> None:
    size = config.pattern.token_size
    expected = {
        'tokens': [3, size, size], 'valid': [], 'positions': [],
        'logits': [config.masks, size, size], 'ious': [config.masks],
    }  # fmt: skip
    found = {
        port.name: [number for number in port.shape if isinstance(number, int)]
        for port in (*session.get_inputs(), *session.get_outputs())
    }
    if found != expected:
        raise WeightsError(
            f'{file} is of another model than it says: inputs and outputs {found}, expected '
            f'{expected}; {again}'
        )


def _choose_precision(wanted: str, exported: str, provider: str, file: Path) -> str:
    if provider == _TENSORRT:  # chooses for each layer
        return 'fp32' if wanted == 'fp32' else 'fp16'
    if wanted not in ('auto', exported):
        raise EngineError(
            f"precision '{wanted}': {file} is in {exported}; use that or 'auto', or export it "
            f'again with --precision {wanted}'
        )
    return exported


def _exported(weights: str, precision: str) -> Path:
    """Return the model as a file in the cache, exported at the first time (up to a minute)."""
    source = zoo.file_of(weights)
    if not source.is_file():
        zoo.load(weights)  # says what is wrong
    numbers = 'fp16' if precision == 'fp16' else 'fp32'

    def write(new: Path) -> None:
        export(weights, new / 'model.onnx', numbers)

    folder = cache.folder(f'onnx/{cache.key(source, VERSION, numbers)}', write)
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix='stt_ros_'))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        write(folder)
    return folder / 'model.onnx'
