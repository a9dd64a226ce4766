"""What gradient flow says of a network: healthy, vanishing, exploding, dead or diverged.

The measure of vanishing and exploding is the gradient with respect to the pre-activations of the first hidden layer
over that of the last one. In a healthy network it is near 1, whatever the batch, the loss or the learning rate are.
"""

from collections.abc import Sequence

from pipeline.records.results import LayerFlow, Verdict, VerdictLabel

# One learning rate serves all layers. Where the first layer's gradient is a thousandth of the last one's, SGD moves it
# a thousand times slower: in the time in which the last layer learns, it stays as it was initialized. Networks that
# train are far from that: tanh with Glorot's initialization has 0.17 through 20 layers.
VANISHING = 1e-3
# The mirror image: a rate that suits the last layer is a thousand times too high for the first.
EXPLODING = 1e3
# More than half of a layer's units pass no gradient for any image: the layer has less than half of its width, and these
# units do not come back by themselves. That is not chance: a healthy ReLU unit is positive for about half the images.
DEAD = 0.5

# Verdicts by which a pruner may end a trial in its first epoch.
HOPELESS: tuple[VerdictLabel, ...] = ("vanishing", "exploding", "dead")


def first_to_last(layers: Sequence[LayerFlow]) -> float:
    """Returns the gradient at the first hidden layer over that at the last one: 1 with a single one, 0 without any.

    Args:
        layers: All layers, the output at the end.
    """
    hidden = hidden_layers(layers)
    return hidden[0].gradient / hidden[-1].gradient if hidden[-1].gradient > 0.0 else 0.0


def hidden_layers(layers: Sequence[LayerFlow]) -> Sequence[LayerFlow]:
    """Returns the layers without the output; a network of one layer has that one."""
    return layers[:-1] if len(layers) > 1 else layers


def judge(layers: Sequence[LayerFlow], diverged: str | None = None) -> Verdict | None:
    """Returns the verdict on a network.

    An explosion is named even where it has ended in divergence: it is the cause.

    Args:
        layers: What was measured, the output at the end; may be empty.
        diverged: How training diverged, if it did.

    Returns:
        None if nothing was measured and nothing diverged.
    """
    verdict = _judge_flow(layers) if layers else None
    if diverged is None:
        return verdict
    if verdict is not None and verdict.label == "exploding":
        return Verdict("exploding", f"{verdict.text}; {diverged}")
    return Verdict("diverged", diverged)


def _judge_flow(layers: Sequence[LayerFlow]) -> Verdict:
    hidden, ratio = hidden_layers(layers), first_to_last(layers)
    amount = f"{ratio:.2g}" if 0.01 <= ratio < 100.0 else f"{ratio:.1e}"
    where = f"the gradient at layer 1 is {amount} of that at layer {len(hidden)}"
    if len(hidden) == 1:
        which = "hidden layer" if len(layers) > 1 else "layer that learns"
        where = f"the only {which} gets {'gradient' if ratio > 0.0 else 'no gradient'}"
    if ratio > EXPLODING:
        return Verdict("exploding", where)
    deadest = max(hidden, key=lambda layer: layer.dead or 0.0)
    if ratio < VANISHING and not (ratio == 0.0 and deadest.dead == 1.0):
        reached = [layer.layer for layer in hidden if layer.gradient < VANISHING * hidden[-1].gradient]
        below = f", below a thousandth from layer {max(reached)} down" if reached else ""
        return Verdict("vanishing", f"{where}{below}")
    if deadest.dead is not None and deadest.dead > DEAD:
        return Verdict("dead", f"{deadest.dead:.0%} of layer {deadest.layer}'s units are positive for no image")
    return Verdict("healthy", where)
