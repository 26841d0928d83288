"""What a command does not use is not loaded, is there if it is asked for, and changes no result."""

import subprocess
import sys

from jobs import assert_same_adapter

ASKED_FOR = """
import sys
from fedtailor.cli.trimmed import trim_imports
trim_imports()
import torch, transformers.models.llama.modeling_llama, peft
layer = torch.nn.Linear(3, 2)
optimizer = torch.optim.AdamW(layer.parameters())
layer(torch.ones(1, 3)).sum().backward()
optimizer.step()
print(*sorted({"torch._dynamo.utils", "torch._inductor", "torch.distributed.tensor", "scipy", "sympy"} & set(sys.modules)))
with torch.no_grad():
    x = torch.randn(4, 3)
    compiled = torch.compile(lambda x: layer(x).sin() * x.shape[0], backend="eager", dynamic=True)
    assert torch.equal(compiled(x), layer(x).sin() * 4)
optimizer.step()
import torch._dynamo.config as config
assert config is torch._dynamo.config and sys.modules["torch._dynamo"] is torch._dynamo
assert torch._dynamo.__file__ and "torch._dynamo.utils" in sys.modules
"""


def python(code, *words):
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=120)


def test_the_compiler_comes_when_it_is_asked_for():
    done = python(ASKED_FOR)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


COMMAND = "import sys; from fedtailor.cli import main; main(sys.argv[1:])"


def test_a_command_of_its_own_process_makes_the_same_bits(fedtailor, write_job, tmp_path):
    job = write_job()
    words = ["run", str(job), "--out"]
    assert fedtailor(*words, tmp_path / "here")[0] == 0
    done = python(COMMAND, *words, str(tmp_path / "trimmed"))
    assert done.returncode == 0, done.stderr
    assert_same_adapter(tmp_path / "here", tmp_path / "trimmed")
