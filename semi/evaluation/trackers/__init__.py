"""What shows a run at work: TensorBoard, MLflow and Weights & Biases behind one protocol."""
