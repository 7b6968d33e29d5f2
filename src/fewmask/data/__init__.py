"""From the files of a data set to the arrays that training sees."""
