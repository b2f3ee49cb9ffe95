"""What only the course needs: its data, its models, its figures and its exercises."""
