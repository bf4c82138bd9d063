"""From one corpus to another: trained on the labels of one, tested on speakers of the next."""
