"""Power meters: what they send (`readings`), how one is opened (`meter`), and a simulated one (`simulator`)."""
