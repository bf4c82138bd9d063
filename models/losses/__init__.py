"""Pure loss functions of tensors; rows are left out by masks and weights, never by indexing.

Every function takes optional weights (B,): a row of weight 0 counts as absent, also as a negative
or in a batch statistic. Without any row left, the loss is exactly 0 with finite gradients. All
run under `torch.func.vmap` and compute in float32 or better.
"""
