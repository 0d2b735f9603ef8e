"""Which lane of the timeline each task is in."""

from __future__ import annotations

from heapq import heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Tuple


def lanes(spans: Iterable[Tuple[int, float, float]]) -> Dict[int, int]:
    """A lane for each span of time, so that no two in one lane overlap.

    There are no more lanes than the most spans at any one moment. A span gets the
    lowest lane that is free when it starts; a span that ends at that moment is over.

    :param spans: a key, the start and the end of each.
    """
    free: List[int] = []
    busy: List[Tuple[float, int]] = []
    found: Dict[int, int] = {}
    many = 0
    for key, start, end in sorted(spans, key=lambda span: (span[1], span[2], span[0])):
        while busy and busy[0][0] <= start:
            heappush(free, heappop(busy)[1])
        if free:
            lane = heappop(free)
        else:
            lane, many = many, many + 1
        found[key] = lane
        heappush(busy, (end, lane))
    return found
