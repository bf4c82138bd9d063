"""Features: extracted once into a store, then read as standardised tensors."""
