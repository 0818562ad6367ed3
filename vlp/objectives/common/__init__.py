"""What objectives share: the contract, encoding, masks, negatives and queues."""
