"""Result files: which of a job's files are kept, under which names, and what is left out and why.

One rule for every network. In a container `pack.sh` packs what may be needed; `choose` decides
over what arrived, as it does over a folder of this machine.
"""

from providers.outputs.archive import unpack_archive
from providers.outputs.choose import Choice, choose
from providers.outputs.pack import outputs_word, packing
from providers.outputs.tree import Kind, Node, Tree

__all__ = [
    "Choice",
    "Kind",
    "Node",
    "Tree",
    "choose",
    "outputs_word",
    "packing",
    "unpack_archive",
]
