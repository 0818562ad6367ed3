"""The losses as loops in float64 numpy, and derivatives by central differences."""

import numpy as np


def softmax_reference(zimg, ztxt, scale, weight):
    present = [i for i in range(len(zimg)) if weight[i] > 0]
    loss = np.zeros(len(zimg))
    for i in present:
        texts = [np.exp(scale * zimg[i] @ ztxt[j]) for j in present]
        images = [np.exp(scale * zimg[j] @ ztxt[i]) for j in present]
        own = np.exp(scale * zimg[i] @ ztxt[i])
        loss[i] = (-np.log(own / sum(texts)) - np.log(own / sum(images))) / 2
    return loss


def sigmoid_reference(zimg, ztxt, scale, bias, weight):
    loss = np.zeros(len(zimg))
    for i in range(len(zimg)):
        for j in range(len(ztxt)):
            if weight[i] > 0 and weight[j] > 0:
                sign = 1 if i == j else -1
                logit = scale * zimg[i] @ ztxt[j] + bias
                loss[i] += np.log(1 + np.exp(-sign * logit))
    return loss


def affinity_reference(student, teacher, weight):
    """Both are images, texts and the multiplier."""
    present = [i for i in range(len(weight)) if weight[i] > 0]
    loss = np.zeros(len(weight))
    for i in present:
        for one, other in ((0, 1), (1, 0)):
            theirs, own = (
                np.array([np.exp(model[2] * model[one][i] @ model[other][j]) for j in present])
                for model in (teacher, student)
            )
            loss[i] -= (theirs / sum(theirs)) @ np.log(own / sum(own)) / 2
    return loss


def captioning_reference(logits, targets, pad_id, label_smoothing):
    loss = np.zeros(len(logits))
    for i, caption in enumerate(targets):
        places = [t for t, token in enumerate(caption) if token != pad_id]
        for t in places:
            logs = np.log(np.exp(logits[i, t]) / np.sum(np.exp(logits[i, t])))
            wanted = np.full(len(logs), label_smoothing / len(logs))
            wanted[caption[t]] += 1 - label_smoothing
            loss[i] -= wanted @ logs / len(places)
    return loss


def central_differences(function, arguments, step=1e-5):
    """Derivatives of a scalar function with respect to each of its float64 arguments."""
    gradients = []
    for which, value in enumerate(arguments):
        gradient = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * step
                ends.append(function(*arguments[:which], moved, *arguments[which + 1 :]))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def embeddings(n, d, seed=0):
    """Two related sets of unit-norm float64 vectors."""
    rng = np.random.default_rng(seed)
    zimg, ztxt = rng.normal(size=(2, n, d))
    ztxt = ztxt + zimg
    return tuple(z / np.linalg.norm(z, axis=1, keepdims=True) for z in (zimg, ztxt))
