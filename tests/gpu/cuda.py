"""Starts the kernels of kernels/cuda from Python: compiled by NVRTC and launched by the driver, or as functions of the CPU.

Needs torch and, for a card, its driver; nothing of this project is built. Tensors are torch's, the stream is its current one.
"""

import ctypes
import pathlib
import sys

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "kernels" / "cuda"
HEADER = "common.cuh"
HOPPERS = ["grouped.cu"]  # with instructions of these cards alone


class Long(int):
    """An argument of 64 bits; plain ints have 32."""


class Arguments:
    """Addresses of arguments as a launch wants them; keeps what they point to."""

    def __init__(self, arguments):
        self.values = [self.value(argument) for argument in arguments]
        pointers = [ctypes.cast(ctypes.pointer(value), ctypes.c_void_p) for value in self.values]
        self.array = (ctypes.c_void_p * len(pointers))(*pointers)

    @staticmethod
    def value(argument):
        if argument is None:
            return ctypes.c_void_p(0)
        if isinstance(argument, Long):
            return ctypes.c_longlong(argument)
        if isinstance(argument, int):
            return ctypes.c_int(argument)
        if isinstance(argument, float):
            return ctypes.c_float(argument)
        if not argument.is_contiguous():
            raise ValueError(f"a kernel takes dense tensors, not strides {argument.stride()}")
        return ctypes.c_void_p(argument.data_ptr())


class Card:
    """The first CUDA device, with all kernels compiled for it."""

    device = "cuda"

    def __init__(self):
        import torch

        self.torch = torch
        torch.zeros(1, device="cuda")  # makes the context that modules are loaded into
        major, minor = torch.cuda.get_device_capability()
        self.driver = ctypes.CDLL("libcuda.so.1")
        nvrtc = Nvrtc()
        self.modules = []
        for source in sorted(SOURCES.glob("*.cu")):
            if source.name in HOPPERS and (major, minor) != (9, 0):
                continue
            cubin = nvrtc.compile(source, f"sm_{major}{minor}" + ("a" if source.name in HOPPERS else ""))
            module = ctypes.c_void_p()
            self.call("cuModuleLoadData", ctypes.byref(module), cubin)
            self.modules.append(module)

    def call(self, name, *arguments):
        code = getattr(self.driver, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self.driver.cuGetErrorString(code, ctypes.byref(text))
            raise RuntimeError(f"{name}: {(text.value or b'').decode()} ({code})")

    def function(self, name):
        function = ctypes.c_void_p()
        for module in self.modules:
            if self.driver.cuModuleGetFunction(ctypes.byref(function), module, name.encode()) == 0:
                return function
        raise RuntimeError(f"no kernel is called {name}")

    def launch(self, name, blocks, threads, shared_bytes, arguments):
        stream = ctypes.c_void_p(self.torch.cuda.current_stream().cuda_stream)
        given = Arguments(arguments)  # lives through the call
        sizes = (blocks, 1, 1, threads, 1, 1, shared_bytes)
        self.call("cuLaunchKernel", self.function(name), *sizes, stream, given.array, None)


class Emulator:
    """The same kernels on the CPU: kernels/cpp/emulated.cpp, built as a shared library."""

    device = "cpu"

    def __init__(self, library):
        self.library = ctypes.CDLL(str(pathlib.Path(library).resolve()))

    def launch(self, name, blocks, threads, shared_bytes, arguments):
        error = ctypes.create_string_buffer(4096)
        given = Arguments(arguments)
        if self.library.ds_emulate(name.encode(), blocks, threads, shared_bytes, given.array, 1, error):
            raise RuntimeError(f"{name}: {error.value.decode()}")


class Nvrtc:
    """NVRTC of the wheels that torch needs, or else the loader's."""

    def __init__(self):
        wheels = [path / "nvidia" / "cu13" / "lib" for path in map(pathlib.Path, sys.path)]
        folder = next((path for path in wheels if (path / "libnvrtc.so.13").exists()), pathlib.Path())
        # NVRTC looks for its second library by name alone, so that one comes first.
        for name in ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"]:
            path = folder / name
            self.library = ctypes.CDLL(str(path if path.exists() else name), mode=ctypes.RTLD_GLOBAL)

    def compile(self, source, architecture):
        program, n = ctypes.c_void_p(), ctypes.c_size_t()
        header = (SOURCES / HEADER).read_bytes()
        one = lambda text: (ctypes.c_char_p * 1)(text)
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17", b"--fmad=false"]
        self.library.nvrtcCreateProgram(
            ctypes.byref(program), source.read_bytes(), source.name.encode(), 1, one(header), one(HEADER.encode())
        )
        code = self.library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if code:
            self.library.nvrtcGetProgramLogSize(program, ctypes.byref(n))
            log = ctypes.create_string_buffer(n.value)
            self.library.nvrtcGetProgramLog(program, log)
            raise RuntimeError(log.value.decode())
        self.library.nvrtcGetCUBINSize(program, ctypes.byref(n))
        cubin = ctypes.create_string_buffer(n.value)
        self.library.nvrtcGetCUBIN(program, cubin)
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return cubin
