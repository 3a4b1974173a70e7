"""Metrics of generated images by comparison with held-out real images."""

import functools

import numpy as np

from su_models.data.registry import REGISTRY, load

SEED = 0


class ImageJudge:
    """Compares samples with the images of a data set.

    A classifier that was trained on the real images predicts the class of a
    sample and its confidence; held-out images give a reference for the
    confidence. A Fréchet distance compares all samples with all real images,
    and the distance to the nearest training image detects copies.

    Args:
        classifier: a classifier of scikit-learn, not fitted, with
            `predict_proba`.
        train, train_labels: images `(n, ...)` and their classes.
        held_out, held_out_labels: the same, not trained on.
        units: optional function from the samples to the units of `train`.
        num_samples: int. Number of samples for comparable metrics.

    Call arguments:
        samples: images `(n, ...)`.

    Returns:
        A dict of floats:

        * `"judge_accuracy"` on the held-out images;
        * `"confident_share"`, the share of samples that are classified with
          a probability of 0.9 or more, `..._of_real` for the held-out images,
          and the ratio;
        * `"smallest_class_share"`, `"largest_class_share"` of the samples;
        * `"frechet"`, the distance to the real images,
          `..._between_real_halves`, and the ratio; the distance is between
          Gaussians after a projection on 20 principal axes;
        * `"nearest_neighbour"`, the median distance to the nearest training
          image, `..._of_real` for the held-out images, and the ratio.
    """

    def __init__(
        self,
        classifier,
        train,
        train_labels,
        held_out,
        held_out_labels,
        units=None,
        num_samples=1000,
    ):
        from sklearn.decomposition import PCA  # here, since it takes a second

        self.train, self.held_out = _flat(train), _flat(held_out)
        self.real = np.concatenate([self.train, self.held_out])
        self.classifier = classifier.fit(self.train, train_labels)
        self.accuracy = self.classifier.score(self.held_out, held_out_labels)
        self.pca = PCA(20, random_state=SEED).fit(self.real)
        self.units = units
        self.num_samples = num_samples

    def __call__(self, samples):
        samples = _flat(self.units(samples) if self.units else samples)
        shares = np.bincount(
            self.classes(samples), minlength=len(self.classifier.classes_)
        )
        shares = shares / len(samples)
        confident, real = self.confident(samples), self.confident(self.held_out)
        frechet, halves = self.frechet(samples)
        nearest, usual = self.nearest(samples), self.nearest(self.held_out)
        return {
            "judge_accuracy": self.accuracy,
            "confident_share": confident,
            "confident_share_of_real": real,
            "confident_share_ratio": confident / real,
            "smallest_class_share": shares.min(),
            "largest_class_share": shares.max(),
            "frechet": frechet,
            "frechet_between_real_halves": halves,
            "frechet_ratio": frechet / halves,
            "nearest_neighbour": nearest,
            "nearest_neighbour_of_real": usual,
            "nearest_neighbour_ratio": nearest / usual,
        }

    def classes(self, images):
        """Returns the most probable class of each image."""
        return self.classifier.predict_proba(images).argmax(axis=1)

    def confident(self, images):
        """Returns the share that is classified with confidence >= 0.9."""
        confidence = self.classifier.predict_proba(images).max(axis=1)
        return (confidence >= 0.9).mean()

    def frechet(self, samples):
        """Returns two mean distances over 20 random halves of real images.

        The distances are to equally many samples, and to the other half, so
        that both have the same bias of finite sets.
        """
        random = np.random.default_rng(SEED)
        real, made = self.pca.transform(self.real), self.pca.transform(samples)
        n, sums = min(len(real) // 2, len(made)), np.zeros(2)
        for _ in range(20):
            order = random.permutation(len(real))
            one, other = real[order[:n]], real[order[-n:]]
            some = made[random.permutation(len(made))[:n]]
            sums += frechet_distance(one, some), frechet_distance(one, other)
        return sums / 20

    def nearest(self, images):
        """Returns the median distance to the nearest training image."""
        train, images = (x.astype("float64") for x in (self.train, images))
        lengths = (train**2).sum(axis=1)
        squares = [
            (lengths - 2 * some @ train.T).min(axis=1) + (some**2).sum(axis=1)
            for some in np.array_split(images, -(-len(images) // 500))
        ]
        return np.median(np.sqrt(np.concatenate(squares).clip(0)))


@functools.cache
def judge_of(data):
    """Returns the judge of a data set of images with classes.

    For the UCI digits it is an RBF SVC, in units of 0 ... 16. Its scores are
    calibrated by isotonic regression, which has the lowest log loss of
    scikit-learn's methods on the held-out digits. For other data sets it is a
    logistic regression on 10 000 training images, a weak classifier.

    Args:
        data: name of a data set.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    train, test = (load(data)[split] for split in ("train", "test"))
    white = REGISTRY[data].white
    if data == "digits":
        svc = SVC(C=10, random_state=SEED)
        classifier = CalibratedClassifierCV(svc, method="isotonic", cv=5)
        return ImageJudge(
            classifier, train["x"], train["y"], test["x"], test["y"],
            units=lambda x: np.clip((x + 1) * (white / 2), 0, white),
        )  # fmt: skip
    classifier = LogisticRegression(C=0.01, max_iter=1000)
    few = slice(10_000)
    return ImageJudge(
        classifier, scaled(train["x"][few], white), train["y"][few],
        scaled(test["x"], white), test["y"], num_samples=500,
    )  # fmt: skip


def frechet_distance(x, y):
    """Returns the distance of the Gaussians with the moments of two sets.

    It is ‖μ_x - μ_y‖² + tr(C_x + C_y - 2 (C_x C_y)^½). The trace of the root
    is the sum of the roots of the eigenvalues of C_x C_y, which are real.

    Args:
        x, y: points, floats `(n, d)`.
    """
    shift = x.mean(axis=0) - y.mean(axis=0)
    cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    eigenvalues = np.linalg.eigvals(cx @ cy).real.clip(0)
    trace = np.trace(cx) + np.trace(cy) - 2 * np.sqrt(eigenvalues).sum()
    return shift @ shift + trace


def scaled(images, white=255):
    """Scales integers 0 ... white to -1 ... 1."""
    return (images / (white / 2) - 1).astype("float32")


def _flat(images):
    """Returns one row of floats per image."""
    rows = np.reshape(images, (len(images), -1))
    return rows if rows.dtype.kind == "f" else rows.astype("float64")
