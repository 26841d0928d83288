"""Demonstrations: one for each technique, on data that come with the package or with installed libraries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import digits, questions


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One of them; its job is the file NAME.yaml beside this one."""

    about: str  # in a line
    story: str  # before it starts
    prepare: Callable[[Path], None] | None = None  # writes its data into a folder that is empty
    network: bool = False  # carried out on a network of this machine


DEMOS: Mapping[str, Demo] = {
    "main": Demo(
        about="averaged LoRA: six libraries teach a language model to document code",
        story="Six libraries play six companies. Each owns its functions and their docstrings, and shows them to nobody. Together they teach one small language model to say what a function does. Only the trained weights are sent.",
    ),
    "prompting": Demo(
        about="a prompt is searched for; nothing is trained",
        story="Three clients look for the prompt that lets a small language model name the library that a sentence is from. Prompts go to the clients, scores come back.",
    ),
    "retrieval": Demo(
        about="questions to documents that stay with their owners",
        story="Each library keeps the sentences of its docstrings. A question, a function's signature, goes to all of them, and the passages that fit it best come back.",
        prepare=questions.write,
    ),
    "images": Demo(
        about="a small diffusion model learns new digits",
        story="A backbone is first trained on scikit-learn's digits 0 to 4, in one place. Then three clients, who keep the digits 5 to 9, fit it to these by LoRA.",
        prepare=digits.write,
    ),
    "distillation": Demo(
        about="models stay home; logits on public sentences are sent",
        story="Three clients train models of their own, which never leave them. What they say of public sentences is averaged, and everybody learns from it.",
    ),
    "split": Demo(
        about="half of the model at the client, half at the server",
        story="The first three blocks of a model are at each client, the others at the server. Activations and gradients cross as int8, labels stay home.",
    ),
    "personalization": Demo(
        about="a shared model, and one of each client's own",
        story="Four clients see different libraries. They train a shared model, and then each of them one of its own from it.",
    ),
    "private": Demo(
        about="differential privacy of examples, and a secure sum",
        story="Every step of training is noised (DP-SGD), so that no example shows. Updates are masked, so that the server sees their sum alone.",
    ),
    "network": Demo(
        about="a server and two sites in processes of their own, over TLS",
        story="A server and two sites start on this machine, each with certificates of its own, and carry out a job as they would across a network.",
        network=True,
    ),
}
