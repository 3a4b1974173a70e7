"""Peak numbers of accelerators, which measured numbers are divided by."""

# dense bfloat16 FLOP/s (without sparsity) and bytes/s of memory, from NVIDIA's
# data sheets, by the name that JAX gives as `device_kind`
PEAKS = {
    "NVIDIA H200": (989e12, 4.8e12),
    "NVIDIA H100 80GB HBM3": (989e12, 3.35e12),
    "NVIDIA H100 PCIe": (756e12, 2.0e12),
    "NVIDIA A100-SXM4-80GB": (312e12, 2.039e12),
    "NVIDIA A100 80GB PCIe": (312e12, 1.935e12),
    "NVIDIA A100-SXM4-40GB": (312e12, 1.555e12),
    "NVIDIA A100-PCIE-40GB": (312e12, 1.555e12),
    "NVIDIA L40S": (362e12, 0.864e12),
    "NVIDIA L4": (121e12, 0.3e12),
}


def peaks(kind, flops=None, bandwidth=None):
    """Returns the peaks of a device; None for what is not known.

    Args:
        kind: name of the device. Only whole names are known, since an "L4" is
            not an "L40S", and a part of a device (MIG) not the device.
        flops: optional float > 0, FLOP/s in bfloat16, instead of the table's.
        bandwidth: optional float > 0, bytes/s, instead of the table's.

    Raises:
        ValueError: if a given number is not positive.
    """
    given = {"flops": flops, "bandwidth": bandwidth}
    for name, value in given.items():
        if value is not None and not value > 0:
            raise ValueError(
                f"`{name}` must be positive. Received: {name}={value}"
            )
    known = PEAKS.get(kind, (None, None))
    return tuple(
        entry if value is None else value
        for entry, value in zip(known, given.values(), strict=True)
    )


def share(rate, peak):
    """Returns rate / peak, or None if the peak is not known."""
    return None if peak is None else rate / peak
