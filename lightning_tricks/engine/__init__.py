"""What Lightning has to be taught; knows no trick by name."""
